"""Which point of its curve stands for a trial at the budget: what it had returned by then, or its best by then."""

from __future__ import annotations

import numpy as np
import pandas as pd

from optbench.report.analysis.statistics import Array

RETURNED, BEST = "returned", "best"  # how a trial is scored at the budget
ROOM = 1.1  # of the budget: checkpoints lie up to a fifth apart, and a little own work must not cost the last of them


def final_points(trials: pd.DataFrame, points: pd.DataFrame, loss: str, limited: bool, scored: str) -> np.ndarray:
    """(trials,) the row of `points` that stands for each trial; -1 for a trial without points.

    loss: the column that "best" goes by. limited: `passes` may go beyond the budget, for they count what an optimizer
    computes by itself. Then only points within `ROOM` of the budget count, or the start where there is none. scored:
    `RETURNED` for the last of them, `BEST` for that of the lowest loss, the latest of equals.
    """
    owner = points["trial"].to_numpy()
    rows = np.arange(len(points))
    if limited:
        first = np.ones(len(points), dtype=bool)
        first[1:] = owner[1:] != owner[:-1]
        limit = ROOM * trials["budget"].to_numpy(dtype=float)[owner]
        rows = rows[first | (points["passes"].to_numpy(dtype=float) <= limit)]
    if scored == BEST and loss in points:
        losses: Array = points[loss].to_numpy(dtype=float)[rows]
        rows = rows[np.lexsort((rows, -np.where(np.isnan(losses), np.inf, losses), owner[rows]))]
    found = np.full(len(trials), -1)
    found[owner[rows]] = rows  # the last of a trial's stays
    return found
