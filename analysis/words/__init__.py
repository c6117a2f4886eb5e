"""What is said of results: labels, columns, sentences."""
