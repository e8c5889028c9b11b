"""Evolution strategies and other stochastic search."""
