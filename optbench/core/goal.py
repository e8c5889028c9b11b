"""A loss or metric at which a trial ends, as a user writes it: `0.05`, `valid_loss<=0.3`, `valid_accuracy>=0.97`.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from optbench.core.trial import RequestError

SPLITS = {"training": "train", "train": "train", "validation": "valid", "valid": "valid", "test": "test"}
HIGHER = ("accuracy", "reward", "return", "auc", "f1", "r2")  # metrics whose name says that more is better


class Goal(NamedTuple):
    """What is reached once `column` of a curve point is at most `value`, or at least, where `higher`."""

    column: str
    higher: bool
    value: float

    def __str__(self) -> str:
        return f"{self.column}{'>=' if self.higher else '<='}{self.value:g}"

    @property
    def text(self) -> str:
        """As a sentence has it: "valid accuracy of at least 0.97"."""
        what = "training loss" if self.column == "loss" else self.column.replace("_", " ")
        return f"{what} of at {'least' if self.higher else 'most'} {self.value:g}"

    def reached(self, point: Mapping[str, float]) -> bool:
        """Whether a curve point has it; never where the point has no such number."""
        found = point.get(self.column)
        if found is None or found != found:
            return False
        return found >= self.value if self.higher else found <= self.value


def read_goal(text: str | float) -> Goal:
    """The goal that is written: a number alone is a training loss. Raises RequestError."""
    found = re.fullmatch(r"\s*(?:([A-Za-z][\w ]*?)\s*(<=|>=|<|>|=| )?\s*)?([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*", str(text))
    if not found:
        raise RequestError(f"until {text!r} is no goal; write 0.05, 'valid_loss<=0.3' or 'valid_accuracy>=0.97'")
    try:
        value = float(found[3])
    except ValueError:
        raise RequestError(f"until {text!r}: {found[3]!r} is no number") from None
    column = _column(found[1] or "loss")
    if column.startswith("test_"):
        raise RequestError(f"until {text!r}: test data end no trial; name a training or validation metric")
    higher = any(word in column for word in HIGHER) if found[2] in (None, "=", " ") else found[2].startswith(">")
    return Goal(column, higher, value)


def _column(words: str) -> str:
    """ "validation accuracy" -> "valid_accuracy", "training loss" -> "loss": as curves call it."""
    first, _, rest = words.strip().replace(" ", "_").partition("_")
    name = f"{SPLITS.get(first.lower(), first)}_{rest}" if rest else first
    return "loss" if name == "train_loss" else name
