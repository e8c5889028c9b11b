"""Figures of the report: drawn from the numbers of the analysis."""
