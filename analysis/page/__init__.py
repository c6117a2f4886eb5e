"""Pages made of sentences, tables and pictures."""
