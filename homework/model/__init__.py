"""A SmolVLM: loaded, asked, scored, explained, with or without an adapter."""
