"""Conformance checks for plugins, and files to start one from."""
