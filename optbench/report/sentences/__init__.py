"""Sentences of the report, made from the numbers of the analysis."""
