"""What tasks are made of: examples, splits, and the order in which they are seen."""
