"""Faster forms of one repeated step: traced, with reused buffers, as a CUDA graph."""
