"""Pre-training of the embedded base."""
