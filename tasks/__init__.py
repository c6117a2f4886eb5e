"""Data to learn from, one family a file; the folder is the list."""
