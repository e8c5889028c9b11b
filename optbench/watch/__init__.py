"""Optimizers at work on one problem as a picture that moves: `python -m optbench watch`."""
