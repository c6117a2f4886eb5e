"""What is trained: networks of layers, and wrapped modules."""
