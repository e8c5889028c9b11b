"""Where the time of a run went: every trial's share of its worker's time, and how much of it was optimizing."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study
from optbench.report.format import listed, number, percent, plural, records_of

_COLUMNS = ("problem", "label", "trials", "worker_seconds", "clock_seconds", "warmup_seconds")


def effort(whole: Study) -> pd.DataFrame:
    """A row a (problem, competitor), all its settings together: seconds of a worker, and of the optimizers' clocks.

    What the clocks leave out is warm-up and tracing, scoring, and setting up. Empty where records do not tell.
    """
    trials = whole.trials
    wall = trials["wall_seconds"].to_numpy(dtype=float)
    if not np.nansum(wall):
        return pd.DataFrame(columns=[*_COLUMNS])
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


def sentence(table: pd.DataFrame) -> str:
    """The whole in words."""
    if not len(table):
        return ""
    whole, clock, warmup = (float(table[name].sum()) for name in _COLUMNS[3:])
    by = table.groupby("label")["worker_seconds"].sum().sort_values(ascending=False)
    most = listed([f"{label} ({percent(value / whole)})" for label, value in by.head(5).items()])
    return (
        f"{plural(int(table['trials'].sum()), 'trial')} took {_seconds(whole)} of worker time: "
        f"{percent(clock / whole)} in optimizers, {percent(warmup / whole)} in warm-up and tracing, "
        f"{percent(max(0.0, 1 - (clock + warmup) / whole))} in scoring and setting up. The most went to {most}."
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """A row a problem, the longest first."""
    if not len(table):
        return pd.DataFrame()
    whole = float(table["worker_seconds"].sum())
    by = table.groupby("problem", as_index=False)[[*_COLUMNS[2:]]].sum().sort_values("worker_seconds", ascending=False)
    return pd.DataFrame(
        [
            {
                "problem": row["problem"],
                "trials": row["trials"],
                "worker time": _seconds(row["worker_seconds"]),
                "of all": percent(row["worker_seconds"] / whole),
                "in optimizers": percent(
                    row["clock_seconds"] / row["worker_seconds"] if row["worker_seconds"] else nan
                ),
            }
            for row in records_of(by)
        ]
    )


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{number(value)} s"
