"""Pictures and tables that show what is in a split."""
