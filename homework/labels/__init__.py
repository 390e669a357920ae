"""The labelling rule: what a view shows, what is asked about it, and the answers."""
