"""Quasi-Newton methods."""
