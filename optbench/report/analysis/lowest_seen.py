"""Best losses that nobody states: the lowest of this study stands in, and targets follow from it.

So they move when folders are joined or somebody goes lower. Whatever shows them says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.core.trial import LOWEST_SEEN
from optbench.report.analysis.question import TRAINING, VALIDATION, Question
from optbench.report.analysis.splits import divisions


def with_lowest_seen(
    facts: Mapping[str, dict[str, Any]], trials: pd.DataFrame, points: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """The facts of all problems, each best loss that is left to the study filled in, and its targets.

    trials, points: of the whole study, all folders and settings. Losses that are not finite were not seen.
    """
    lowest = {question.loss: _lowest(trials, points, question) for question in (TRAINING, VALIDATION)}
    out = {}
    for name, fact in facts.items():
        out[name] = _both(fact, lowest, (name, 0))
        if isinstance(of_splits := fact.get("splits"), Mapping):
            filled = {split: _both(own, lowest, (name, int(str(split)))) for split, own in of_splits.items()}
            out[name]["splits"] = filled
    return out


def _both(
    fact: Mapping[str, Any], lowest: Mapping[str, Mapping[tuple[str, int], float]], where: tuple[str, int]
) -> dict[str, Any]:
    """The facts of one split with the best losses of both questions filled in."""
    filled = _filled(fact, lowest[TRAINING.loss].get(where, math.nan))
    second = filled.get(VALIDATION.facts)
    if isinstance(second, Mapping):
        filled[VALIDATION.facts] = _filled(second, lowest[VALIDATION.loss].get(where, math.nan))
    return filled


def _lowest(trials: pd.DataFrame, points: pd.DataFrame, question: Question) -> dict[tuple[str, int], float]:
    """{(problem, split): the lowest finite loss of any point of any trial}."""
    if question.loss not in points or not len(points):
        return {}
    loss = points[question.loss].to_numpy(dtype=float)
    pairs, place = divisions(trials)
    seen = pd.Series(np.where(np.isfinite(loss), loss, np.nan)).groupby(place[points["trial"].to_numpy()]).min()
    return {pairs[k]: float(value) for k, value in zip(seen.index.to_numpy(dtype=int), seen, strict=True)}


def _filled(goal: Mapping[str, Any], lowest: float) -> dict[str, Any]:
    """The goal with its best loss and targets; without targets where nobody went below the start."""
    found = dict(goal)
    if not left_to_study(goal):
        return found
    start, taus = goal.get("start"), [tau for tau in goal.get("taus") or () if isinstance(tau, int | float)]
    if isinstance(start, int | float) and lowest < start:
        found["best"] = {"value": lowest, "source": LOWEST_SEEN}
        found["targets"] = {f"{tau:g}": lowest + tau * (start - lowest) for tau in taus}
    return found


def left_to_study(goal: Mapping[str, Any]) -> bool:
    """Whether the best loss of a goal is the lowest that the study itself has seen."""
    best = goal.get("best")
    return isinstance(best, Mapping) and best.get("source") == LOWEST_SEEN


def left_to_study_of(facts: Mapping[str, dict[str, Any]], problems: Sequence[str]) -> list[str]:
    """Those of some problems whose best training loss is the lowest of the study, on any split of their data."""
    return [
        name
        for name in problems
        if any(map(left_to_study, (fact := facts.get(name, {}), *(fact.get("splits") or {}).values())))
    ]
