"""What a report asks. The two questions are never mixed: a setting is chosen on what it is scored on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """name: of the data that decide, "training" or "validation". loss: the column of the curves that is scored.

    facts: where a problem's facts state start, best and targets; "" for the facts themselves.
    """

    name: str
    asks: str
    loss: str
    facts: str = ""
    target: str = ""  # what its only target is called

    def goal(self, fact: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start, best and targets of a problem; empty where it states none."""
        found = fact.get(self.facts) if self.facts else fact
        return found if isinstance(found, Mapping) else {}

    @property
    def targets(self) -> str:
        """What its targets are called in a sentence."""
        if self.target:
            return self.target
        return "target" if not self.facts else f"{self.name} target"


TRAINING = Question("training", "How fast does it minimise?", "loss")
VALIDATION = Question("validation", "What does it generalise to?", "valid_loss", "validation")
