"""What kind of problem it is and how large: what a reader asks for ("who is best on CNNs?")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# The first that the problem's own summary or name speaks of; a network that names none of them is a dense one.
_SEQUENCES = (
    ("transformers", r"transformer|attention"),
    ("recurrent networks", r"\brnn\b|lstm|\bgru\b|recurrent"),
)
_KINDS = (
    *_SEQUENCES,
    ("CNNs", r"\bcnn|convolution"),
    ("networks of steps and signs", r"\b(step|sign) network|hard threshold"),
    ("lines and logistic models", r"\bline fit|logistic|linear regression|softmax regression"),
)
_TRACKS = {"function": "test functions", "unsupervised": "autoencoders and the like", "reinforcement": "control"}
SIZES = ((30, "up to 30 parameters"), (1000, "31 to 1,000 parameters"))
LARGEST = "more than 1,000 parameters"


def kind_of(name: str, fact: Mapping[str, Any]) -> str:
    """Its kind as a plural: of the network where labels or sequences are learned, of the task elsewhere."""
    track = str(fact.get("track") or "")
    text = f"{name.replace('_', ' ')} {fact.get('summary') or ''}".lower()
    kinds = _SEQUENCES if track == "unsupervised" else () if track in _TRACKS else _KINDS
    return next((kind for kind, words in kinds if re.search(words, text)), _TRACKS.get(track, "dense networks"))


def size_of(fact: Mapping[str, Any]) -> str:
    """The class of its number of parameters."""
    dim = int(fact.get("dim") or 0)
    return next((name for limit, name in SIZES if dim <= limit), LARGEST)


def rows(problems: Sequence[str], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """{kind: its problems}, or {size: its problems} where all are of one kind."""
    by_kind: dict[str, list[str]] = {}
    for name in problems:
        by_kind.setdefault(kind_of(name, facts.get(name, {})), []).append(name)
    if len(by_kind) > 1:
        return by_kind
    by_size = {
        size: [p for p in problems if size_of(facts.get(p, {})) == size] for size in [s for _, s in SIZES] + [LARGEST]
    }
    return {size: found for size, found in by_size.items() if found} or by_kind
