"""Where the time of a run went: every trial's share of its worker's time, and how much of it was optimizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study

MACHINE_COLUMNS = ("machine", "trials", "timed_alone", "hours", "utilisation", "slots", "cpu", "cores", "gpu", "os")
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


def machines(study: Study) -> pd.DataFrame:
    """A row a machine of a cluster: its trials, worker's hours, and their share of the time that it could have worked.

    Empty for runs of one machine. Utilisation is 0 to 1, NaN where the environment does not tell how long it was there.
    """
    rows: list[dict[str, Any]] = []
    trials = study.trials.groupby("machine")
    for environment in study.environments:
        for entry in filter(None, environment.get("machines") or []):
            name = entry.get("name")
            if not name or any(row["machine"] == name for row in rows):
                continue
            ran = trials.get_group(name) if name in trials.groups else study.trials.iloc[:0]
            seconds = float(ran["wall_seconds"].sum())
            there = entry.get("slot_seconds")
            what = entry.get("machine") or {}
            rows.append(
                {
                    "machine": name,
                    "trials": len(ran),
                    "timed_alone": int(ran["alone"].sum()),
                    "hours": seconds / 3600,
                    "utilisation": seconds / there if isinstance(there, int | float) and there > 0 else math.nan,
                    "slots": entry.get("slots"),
                    **{part: what.get(part) for part in ("cpu", "cores", "gpu", "os")},
                }
            )
    return pd.DataFrame(rows, columns=[*MACHINE_COLUMNS])
