"""What one cell - the seeds of one optimizer on one problem - reached, cost and left behind, a row a cell."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.study import Study
from optbench.stats import Interval, expected_cost, median_interval


def costs(study: Study) -> pd.DataFrame:
    """Cost to target: a row a (problem, label, tau): hits of planned trials, median with interval, ERT, in passes."""
    budget = study.trials["budget"].to_numpy()
    seconds = study.costs("seconds")
    rows = []
    for problem in study.problems:
        for k, tau in enumerate(study.taus):
            goal = study.target(problem, tau)
            if math.isnan(goal):
                continue
            for label in study.labels:
                cell = study.cells.get((problem, label))
                if cell is None:
                    continue
                cost = study.passes_to[cell, k]
                timed, alone = study.timed(cell)
                rows.append(
                    {"problem": problem, "label": label, "tau": tau, "target_loss": goal, "trials": len(cell)}
                    | {"hits": int(np.isfinite(cost).sum())}
                    | _interval("passes", median_interval(cost))
                    | {"ert_passes": expected_cost(cost, budget[cell])}
                    | {"seconds": median_interval(seconds[timed, k]).estimate, "seconds_comparable": alone}
                )
    return pd.DataFrame(rows, columns=None if rows else [*_COST_COLUMNS])


_COST_COLUMNS = (
    *("problem", "label", "tau", "target_loss", "trials", "hits"),
    *("passes", "passes_low", "passes_high", "ert_passes", "seconds", "seconds_comparable"),
)


def finals(study: Study) -> pd.DataFrame:
    """Best at budget: a row a cell: final loss, gap to the best known, share left, last valid and test metrics."""
    metrics = [name for name in study.points.columns if name.startswith(("valid_", "test_"))]
    last = study.points.groupby("trial").last(skipna=False)[metrics].reindex(study.trials.index)
    last[study.lost] = np.nan
    rows = []
    for problem in study.problems:
        best, source = study.best(problem)
        for label in study.labels:
            cell = study.cells.get((problem, label))
            if cell is None:
                continue
            trials = study.trials.iloc[cell]
            row: dict[str, Any] = {"problem": problem, "label": label, "trials": len(cell)}
            row["lost"] = int(study.lost[cell].sum())
            row["budget"] = float(trials["budget"].max())
            row |= _interval("loss", median_interval(trials["final"]))
            row |= _interval("gap", _or_nan(trials["gap"]))
            row |= _interval("left", _or_nan(trials["left"]))
            row |= {"best": best, "best_source": source, "lowest": float(trials["lowest"].min())}
            row |= {name: _worst_median(name, last[name].iloc[cell].to_numpy()) for name in metrics}
            rows.append(row)
    return pd.DataFrame(rows)


def _or_nan(values: pd.Series) -> Interval:
    """The median interval; NaN where the reference that the values are measured from is unknown."""
    if values.isna().all():
        return Interval(math.nan, math.nan, math.nan, 0.0)
    return median_interval(values)


def _worst_median(name: str, values: np.ndarray) -> float:
    """The median over all trials, where a missing value is the worst there is; NaN where no trial has one."""
    if np.isnan(values).all():
        return math.nan
    worst = -math.inf if higher_is_better(name) else math.inf
    return float(np.median(np.where(np.isnan(values), worst, values)))


def higher_is_better(metric: str) -> bool:
    return any(word in metric for word in ("accuracy", "reward", "return", "auc", "f1", "r2"))


def speeds(study: Study) -> pd.DataFrame:
    """Throughput and memory: a row a cell, medians over the trials that ran; from lone trials where there are some."""
    trials = study.trials
    ceiling = [(env.get("ceiling_flops_per_second") or {}) for env in study.environments]
    top = dict(zip(study.names, ceiling, strict=True))
    rows = []
    for problem in study.problems:
        for label in study.labels:
            cell = study.cells.get((problem, label))
            if cell is None:
                continue
            ran = cell[(trials["seconds"].to_numpy()[cell] > 0)]
            if not len(ran):
                continue
            used, alone = study.timed(ran)
            part = trials.iloc[used]
            seconds = part["seconds"].astype(float)
            flops = (part["flops"].astype(float) / seconds).median()
            first = part.iloc[0]
            peak = _ceiling(top.get(first["folder"], {}), str(first["device"]))
            rows.append(
                {"problem": problem, "label": label, "device": first["device"], "comparable": alone}
                | {"trials": len(used), "lanes": int(part["lanes"].max())}
                | {"samples_per_second": ((part["forward"] + part["backward"]).astype(float) / seconds).median()}
                | {"candidates_per_second": (part["evaluations"].astype(float) / seconds).median()}
                | {"flops_per_second": flops, "share_of_ceiling": flops / peak}
                | {"seconds": seconds.median(), "warmup_seconds": part["warmup_seconds"].median()}
                | {"peak_bytes": part["peak_bytes"].max()}
            )
    return pd.DataFrame(rows)


def _ceiling(ceilings: dict[str, Any], device: str) -> float:
    value = ceilings.get(device, ceilings.get(device.split(":")[0]))
    return float(value) if isinstance(value, int | float) and value > 0 else math.nan


def statuses(study: Study) -> pd.DataFrame:
    """A row a cell: how its planned trials ended, and the commonest reasons."""
    rows = []
    for problem in study.problems:
        for label in study.labels:
            cell = study.cells.get((problem, label))
            if cell is None:
                continue
            part = study.trials.iloc[cell]
            reasons = Counter(str(text) for text in part["error"] if isinstance(text, str) and text)
            row: dict[str, Any] = {"problem": problem, "label": label, "planned": len(cell)}
            row |= {str(status): int(count) for status, count in part["status"].value_counts().items()}
            row["reasons"] = "; ".join(
                text if count == 1 else f"{text} ({count} trials)" for text, count in reasons.most_common(3)
            )
            rows.append(row)
    table = pd.DataFrame(rows)
    names = [name for name in table.columns if name not in ("problem", "label", "planned", "reasons")]
    if len(table):
        table[names] = table[names].fillna(0).astype(int)
        table = table[["problem", "label", "planned", *names, "reasons"]]
    return table


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
