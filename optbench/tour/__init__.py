"""The lecture as pictures that run: a small study a topic, a page each, one offline book: `python -m optbench tour`."""
