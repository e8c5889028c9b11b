"""Curves of a cell on one grid of costs: the median over seeds with its exact interval, failures at infinity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optbench.report.study import Study
from optbench.stats import Array, median_intervals

POINTS = 60  # of the grid


@dataclass(frozen=True)
class Band:
    """cost, low, middle, high: (G,) each. comparable: the costs may be compared between optimizers."""

    cost: Array
    low: Array
    middle: Array
    high: Array
    comparable: bool = True
    coverage: float = 0.0


def grid(study: Study, problem: str, axis: str, points: int = POINTS) -> Array:
    """Zero, then log-spaced costs up to the largest that any trial of the problem reached, (points,)."""
    rows = [row for label in study.labels for row in study.cells.get((problem, label), ())]
    costs = [cost for row in rows for cost in study.curve(row, axis) if len(cost)]
    if not costs:
        return np.zeros(1)
    whole = np.concatenate(costs)
    positive = whole[np.isfinite(whole) & (whole > 0)]
    if not len(positive):
        return np.zeros(1)
    low = float(np.median([cost[cost > 0].min() for cost in costs if (cost > 0).any()]))
    return np.concatenate([[0.0], np.geomspace(low, float(positive.max()), points - 1)])


def band(
    study: Study, problem: str, label: str, costs: Array, axis: str = "passes", column: str = "loss"
) -> Band | None:
    """The cell's curves as steps on `costs`, cut where the longest of its trials ended; None without any point.

    A trial that ended by itself holds its last value. A lost one is infinite once its curve ends; one that left no
    curve is infinite everywhere.
    """
    rows = study.cells.get((problem, label))
    if rows is None or column not in study.points:
        return None
    rows, comparable = study.timed(rows) if axis == "seconds" else (rows, True)
    values = np.full((len(costs), len(rows)), np.inf)
    end = -np.inf
    for k, row in enumerate(rows):
        at, value = study.curve(row, axis, column)
        if not len(at) or not np.isfinite(value).any():
            continue
        place = np.searchsorted(at, costs * (1 + 1e-9), side="right") - 1
        values[:, k] = np.where(place >= 0, value[np.maximum(place, 0)], np.inf)
        if study.lost[row]:
            values[costs > at[-1], k] = np.inf
        end = max(end, float(at[-1]))
    if end < 0:
        return None
    cut = slice(0, max(int(np.searchsorted(costs, end * (1 + 1e-9), side="right")), 1))
    low, middle, high, coverage = median_intervals(values[cut])
    return Band(costs[cut], low, middle, high, comparable, coverage)
