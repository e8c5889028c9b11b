"""The analysis that a suite states beforehand, `[analysis]`: what the report will ask, so that nobody chooses later.

Standard library only; the suite reads it, environment.json keeps it, the report follows it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from optbench.core.trial import RequestError

QUESTIONS, AXES, SCORED = ("training", "validation"), ("total", "oracle"), ("returned", "best")
BEFORE = "trials_before"  # in environment.json: how many trials had ended when the analysis was stated
MAX_ALPHA = 0.2


@dataclass(frozen=True)
class Analysis:
    """What is asked, and how. Every field is a key of `[analysis]`."""

    question: str = "training"  # the loss that settings are chosen on and that is scored
    axis: str = "total"  # what a pass counts: all work, or the problem's alone
    budget: float = 1.0  # the share of each budget at which is judged
    targets: tuple[float, ...] = ()  # shares of the way left that make targets; empty: all that the problems state
    reference: str = ""  # the optimizer that the others are measured against; empty: every pair
    alpha: float = 0.05  # the level of the tests
    scored: str = "returned"  # the point that stands for a trial: the one it returned, or the best of its curve
    mixed: bool = False  # tuned and untuned optimizers are ranked together

    def as_data(self) -> dict[str, Any]:
        """Its fields that are not as they are by default, as TOML and JSON have them."""
        usual = Analysis()
        found = {name: value for name, value in asdict(self).items() if value != getattr(usual, name)}
        return {name: [*value] if isinstance(value, tuple) else value for name, value in found.items()}

    def words(self) -> str:
        """It as a phrase: "training loss; all work on the axis; against adam; level 5 %"."""
        parts = [f"{self.question} loss", "all work" if self.axis == "total" else "the problem's work alone"]
        parts.append("the whole budget" if self.budget == 1 else f"{100 * self.budget:g} % of the budget")
        listed = ", ".join(f"{100 * tau:g} %" for tau in self.targets)
        parts.append(f"targets {listed}" if self.targets else "all targets")
        parts.append(f"against {self.reference}" if self.reference else "every pair")
        parts += [f"level {100 * self.alpha:g} %"]
        parts += ["the best point of each curve"] if self.scored == "best" else []
        return "; ".join([*parts, *(["tuned and untuned together"] if self.mixed else [])])


def read_analysis(data: Mapping[str, Any]) -> Analysis:
    """An analysis from the table of a suite. Raises RequestError naming the key."""
    names = [item.name for item in fields(Analysis)]
    for key, value in data.items():
        if key not in names:
            close = difflib.get_close_matches(key, names, 1, 0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"
            raise RequestError(f"unknown key {key!r} of [analysis], {hint}")
        if wrong := _wrong(key, value):
            raise RequestError(f"{key} = {value!r} of [analysis]: {wrong}")
    given: dict[str, Any] = {**data}
    given |= {key: float(data[key]) for key in ("budget", "alpha") if key in data}
    given |= {"targets": tuple(map(float, data["targets"]))} if "targets" in data else {}
    return Analysis(**given)


def stated(environment: Mapping[str, Any]) -> tuple[Analysis, int] | None:
    """The analysis of results and how many trials had ended when it was stated; None where there is none that holds."""
    found = environment.get("analysis")
    if not isinstance(found, Mapping):
        return None
    before = found.get(BEFORE)
    try:
        analysis = read_analysis({key: value for key, value in found.items() if key != BEFORE})
    except RequestError:
        return None
    return analysis, before if type(before) is int and before >= 0 else 0


def _wrong(key: str, value: Any) -> str:
    """What a value must be, where it is not."""
    choices = {"question": QUESTIONS, "axis": AXES, "scored": SCORED}
    if key in choices:
        return "" if value in choices[key] else f"it must be one of {', '.join(choices[key])}"
    if key == "mixed":
        return "" if isinstance(value, bool) else "it must be true or false"
    if key == "reference":
        return "" if isinstance(value, str) else "it must be the name of an optimizer"
    if key == "targets":
        fits = isinstance(value, list | tuple) and all(_is_number(one) and 0 < one < 1 for one in value)
        return "" if fits else "it must be a list of shares between 0 and 1, such as [0.1, 0.01]"
    if key == "budget":
        return "" if _is_number(value) and 0 < value <= 1 else "it must be a share of the budget, above 0 and at most 1"
    return "" if _is_number(value) and 0 < value <= MAX_ALPHA else f"it must be above 0 and at most {MAX_ALPHA:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
