"""Budgets that are no passes: the axis, the targets and the words of a report follow what was granted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.records.splits import fact_of
from optbench.report.analysis.question import Question
from optbench.report.analysis.splits import divisions

PASSES, STEPS, SECONDS = "passes", "steps", "seconds"
REACHED = "goal_left"  # a column of the curves: how far the goal is, 0 or less once it is reached


def unit_of(environments: Sequence[Mapping[str, Any]]) -> str:
    """The unit of the budget; folders of different units are shown in passes."""
    units = {str((one.get("budget") or {}).get("unit", PASSES)) for one in environments}
    return next(iter(units)) if len(units) == 1 and units <= {STEPS, SECONDS} else PASSES


def in_unit(
    unit: str, trials: pd.DataFrame, points: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]], amount: float
) -> None:
    """Let `passes` and `budget` of the tables be in the unit of the budget. amount: what was granted."""
    if unit == SECONDS:
        points["passes"], trials["passes"], trials["budget"] = points["seconds"], trials["seconds"], amount
    if unit == STEPS:
        pairs, place = divisions(trials)
        of_each = [fact_of(facts.get(name, {}), split) for name, split in pairs]
        each = np.array([float(fact.get("passes_per_step") or math.nan) for fact in of_each], dtype=float)[place]
        points["passes"] = points["passes"] / each[points["trial"].to_numpy()]
        trials["passes"], trials["budget"] = trials["passes"] / each, trials["budget"] / each


def in_words(text: str, unit: str) -> str:
    """A sentence on passes, in the unit of the budget; "passes a step" stay what they are."""
    if unit == PASSES:
        return text
    return re.sub(r"\bpasses\b(?! a step)", unit, re.sub(r"^Passes\b", unit.capitalize(), text))


def goal_question(environments: Sequence[Mapping[str, Any]]) -> Question | None:
    """The question that a goal asks; None where trials had none, or not all the same."""
    goals = [(one.get("budget") or {}).get("until") for one in environments]
    first = goals[0] if goals else None
    if not isinstance(first, Mapping) or any(goal != first for goal in goals):
        return None
    text = str(first.get("text", "the goal"))
    return Question("goal", f"Who reaches a {text}, at what cost?", REACHED, "goal", f"{text}")


def add_goal(points: pd.DataFrame, environments: Sequence[Mapping[str, Any]], facts: dict[str, dict[str, Any]]) -> None:
    """Add the column REACHED to the curves, and to the facts what it is to reach: 0."""
    goal = (environments[0].get("budget") or {}).get("until") or {}
    column, value = str(goal.get("column")), float(goal.get("value", math.nan))
    found = points[column].to_numpy(dtype=float) if column in points else np.full(len(points), np.nan)
    points[REACHED] = value - found if goal.get("higher") else found - value
    start = float(np.nanmax(points[REACHED])) if np.isfinite(points[REACHED]).any() else 1.0
    for name, fact in facts.items():
        best = {"value": 0.0, "source": "goal"}
        facts[name] = {**fact, "goal": {"start": max(start, 1e-12), "best": best, "targets": {"0": 0.0}}}
