"""The harness: it knows no concrete method or task."""
