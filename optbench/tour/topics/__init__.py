"""The topics of the tour, a file each, in the order of the book; importing it imports none of them."""

from __future__ import annotations

TOPICS = (
    "four_ways",
    "chain_rule",
    "losses",
    "learning_rates",
    "batches",
    "overfitting",
    "width",
    "convolution",
    "supervised",
    "unsupervised",
    "reinforcement",
    "brain",
    "sizes",
    "lanes",
)
