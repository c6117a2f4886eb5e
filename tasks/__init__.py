"""Data to learn from, one family per file; the folder is the list."""
