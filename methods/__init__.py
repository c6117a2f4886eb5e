"""Training rules, one per file; the folder is the list."""
