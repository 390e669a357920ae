"""Images and tables of the content of a split."""
