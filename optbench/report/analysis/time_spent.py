"""Where the time of a run went: every trial's share of its worker's time, and how much of it was optimizing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study

COLUMNS = ("problem", "label", "trials", "worker_seconds", "clock_seconds", "warmup_seconds")


def worker_time(settings: Study) -> pd.DataFrame:
    """A row a (problem, competitor), all its settings together: seconds of a worker, and of the optimizers' clocks.

    What the clocks leave out is warm-up and tracing, scoring, and setting up. Empty where records do not tell.
    """
    trials = settings.trials
    wall = trials["wall_seconds"].to_numpy(dtype=float)
    if not np.nansum(wall):
        return pd.DataFrame(columns=[*COLUMNS])
    lanes = np.maximum(trials["lanes"].to_numpy(dtype=float), 1)
    table = pd.DataFrame(
        {
            "problem": trials["problem"],
            "label": trials["competitor"],
            "trials": 1,
            "worker_seconds": wall,
            "clock_seconds": trials["seconds"].to_numpy(dtype=float) / lanes,
            "warmup_seconds": trials["warmup_seconds"].to_numpy(dtype=float) / lanes,
        }
    )
    return table.groupby(["problem", "label"], sort=False, as_index=False).sum()
