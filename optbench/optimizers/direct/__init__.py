"""Direct search."""
