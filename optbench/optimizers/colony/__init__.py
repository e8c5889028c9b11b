"""Ant colonies."""
