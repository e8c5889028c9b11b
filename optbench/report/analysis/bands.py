"""Curves of a cell on one grid of costs: the median over seeds with its exact interval, failures at infinity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optbench.report.analysis.cells import higher_is_better
from optbench.report.analysis.statistics import Array, median_intervals
from optbench.report.analysis.study import Study

MAX_POINTS = 60  # of the grid


@dataclass(frozen=True)
class Band:
    """cost, low, middle, high: (G,) each. comparable: the costs may be compared between optimizers."""

    cost: Array
    low: Array
    middle: Array
    high: Array
    comparable: bool = True


class Bands:
    """All curves of one problem against one cost ("passes", "samples", "seconds"), as steps on a common grid.

    A trial that ended by itself keeps its last value. One without a result is infinite (the worst, for metrics where
    higher is better) once its curve ends; one that left no curve is infinite everywhere.
    """

    def __init__(self, study: Study, problem: str, axis: str, points: int = MAX_POINTS) -> None:
        self.study, self.problem, self.points = study, problem, points
        self.axis = "clock" if axis == "seconds" else axis
        self.cells = {
            label: (rows, axis != "seconds" or study.comparable(rows))
            for label in study.labels
            if (rows := study.cells.get((problem, label))) is not None
        }

    @cached_property
    def _curves(self) -> dict[int, Array]:
        """Row of `trials` -> its costs, for trials with a point."""
        every_row = [row for rows, _ in self.cells.values() for row in rows]
        return {row: cost for row in every_row if len(cost := self.study.curve(row, self.axis)[0])}

    @cached_property
    def grid(self) -> Array:
        """Zero, then the costs at which points were taken, or as many log-spaced ones, (G,); zero alone without any."""
        firsts, last = [], 0.0
        for cost in self._curves.values():
            positive = cost[cost > 0]
            if len(positive):
                firsts.append(float(positive[0]))
                last = max(last, float(positive[-1]))
        if not firsts or not np.isfinite(last):
            return np.zeros(1)
        met = np.unique(np.concatenate([cost[cost > 0] for cost in self._curves.values()]))
        if len(met) <= 1.5 * self.points:  # shared checkpoints: the curves are exact on them
            return np.concatenate([[0.0], met])
        return np.concatenate([[0.0], np.geomspace(min(firsts), last, self.points - 1)])

    @cached_property
    def _places(self) -> dict[int, tuple[Array, np.ndarray]]:
        """Row -> (point of the table that holds at each grid cost, whether the trial has a value there)."""
        edge = self.grid * (1 + 1e-9)
        out = {}
        for row, cost in self._curves.items():
            place = np.searchsorted(cost, edge, side="right") - 1
            known = place >= 0
            if self.study.no_result[row]:
                known &= edge <= cost[-1] * (1 + 1e-9) ** 2
            out[row] = (np.maximum(place, 0) + self.study.bounds[row], known)
        return out

    def band(self, label: str, column: str = "loss") -> Band | None:
        """The band of one optimizer, cut where the longest of its trials ended; None without any finite value."""
        if label not in self.cells or column not in self.study.points:
            return None
        rows, comparable = self.cells[label]
        data = self.study.points[column].to_numpy()
        sign = -1.0 if higher_is_better(column) else 1.0
        values = np.full((len(self.grid), len(rows)), np.inf)
        end = -1.0
        for k, row in enumerate(rows):
            if row in self._places:
                place, known = self._places[row]
                values[:, k] = np.where(known, sign * data[place], np.inf)
                end = max(end, float(self._curves[row][-1]))
        if end < 0 or not np.isfinite(values).any():
            return None
        cut = slice(0, int(np.searchsorted(self.grid, end * (1 - 1e-9))) + 1)  # the last value is in it
        low, middle, high, _ = median_intervals(values[cut])
        if sign < 0:
            low, middle, high = -high, -middle, -low
        return Band(self.grid[cut], low, middle, high, comparable)
