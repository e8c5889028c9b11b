"""Dynamic programming and backpropagation by hand."""
