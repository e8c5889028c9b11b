"""What one cell - the seeds of one optimizer on one problem - reached, cost and left behind, a row a cell."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from optbench.core.trial import same_work
from optbench.records.schema import OWN_CORE
from optbench.report.analysis import timings
from optbench.report.analysis.final_points import BEST
from optbench.report.analysis.statistics import Interval, cell_median, expected_cost, median_interval
from optbench.report.analysis.study import Study


def costs(study: Study) -> pd.DataFrame:
    """Cost to target: a row a (problem, label, tau): hits of planned trials, median with interval, ERT, in passes."""
    budget = study.trials["budget"].to_numpy()
    seconds = study.costs("clock")
    rows = []
    for problem in study.problems:
        sources = "; ".join(sorted(study.measured_from(problem)))
        for k, tau in enumerate(study.taus):
            goal = study.target(problem, tau)
            if math.isnan(goal):
                continue
            for label in study.labels:
                cell = study.cells.get((problem, label))
                if cell is None:
                    continue
                cost = study.passes_to[cell, k]
                rows.append(
                    {"problem": problem, "label": label, "tau": tau, "target_loss": goal, "trials": len(cell)}
                    | {"hits": int(np.isfinite(cost).sum())}
                    | _interval("passes", median_interval(cost))
                    | {"ert_passes": expected_cost(cost, budget[cell])}
                    | {"seconds": median_interval(seconds[cell, k]).estimate}
                    | {"seconds_comparable": study.comparable(cell), "measured_from": sources}
                )
    return pd.DataFrame(rows, columns=None if rows else [*_COST_COLUMNS])


_COST_COLUMNS = (
    *("problem", "label", "tau", "target_loss", "trials", "hits"),
    *("passes", "passes_low", "passes_high", "ert_passes", "seconds", "seconds_comparable"),
    "measured_from",
)


def finals(study: Study) -> pd.DataFrame:
    """Best at budget: a row a cell: final loss, gap to the best known, share left, last valid and test metrics.

    best_loss: the median over trials of the lowest loss by then, whichever point stands for a trial.
    """
    at_best = study.scored_at(BEST).trials["final"].to_numpy(dtype=float)
    metrics = [name for name in study.points.columns if name.startswith(("valid_", "test_"))]
    ends = {name: np.where(study.no_result, np.nan, study.last[name]) for name in metrics}
    final, gap, left, lowest, budget = (
        study.trials[name].to_numpy(dtype=float) for name in ("final", "gap", "left", "lowest", "budget")
    )
    rows = []
    for problem in study.problems:
        best, source = study.best(problem)
        for label in study.labels:
            cell = study.cells.get((problem, label))
            if cell is None:
                continue
            row: dict[str, Any] = {"problem": problem, "label": label, "trials": len(cell)}
            row |= {"no_result": int(study.no_result[cell].sum()), "budget": float(budget[cell].max())}
            row |= _interval("loss", median_interval(final[cell]))
            row["best_loss"] = median_interval(at_best[cell]).estimate
            row |= _interval("gap", _or_nan(gap[cell]))
            row |= _interval("left", _or_nan(left[cell]))
            row |= {"best": best, "best_source": source, "lowest": float(lowest[cell].min())}
            row |= {name: _worst_median(name, ends[name][cell]) for name in metrics}
            rows.append(row)
    return pd.DataFrame(rows)


def _or_nan(values: np.ndarray) -> Interval:
    """The median interval; NaN where the reference that the values are measured from is unknown."""
    if np.isnan(values).all():
        return Interval(math.nan, math.nan, math.nan, 0.0)
    return median_interval(values)


def _worst_median(name: str, values: np.ndarray) -> float:
    """The median over all trials, where a missing value is the worst there is; NaN where no trial has one."""
    if np.isnan(values).all():
        return math.nan
    return cell_median(values, np.isnan(values), -math.inf if higher_is_better(name) else math.inf)


def higher_is_better(metric: str) -> bool:
    """Whether a metric of this name is a score rather than a loss."""
    return any(word in metric for word in ("accuracy", "reward", "return", "auc", "f1", "r2"))


def speeds(study: Study, settings: Study) -> pd.DataFrame:
    """Throughput and memory: a row a cell, medians over the trials that ran (alone, where some did).

    settings: the study with all the settings of a tuned optimizer, for the one timed alone stands for the others too.
    """
    names = ["seconds", "forward", "backward", "evaluations", "flops", "lanes", "warmup_seconds", "peak_bytes"]
    names += ["utilisation", "joules", "own_flops", "own_seconds"]
    data = {name: settings.trials[name].to_numpy(dtype=float) for name in names}
    device, folder, lone = (settings.trials[name].to_numpy() for name in ("device", "folder", "alone"))
    tried, same = {**settings.cells, **timings.groups(settings.trials)}, timings.alike(settings.trials)
    environments = zip(study.names, study.environments, strict=True)
    ceilings = {name: environment.get("ceiling_flops_per_second") or {} for name, environment in environments}
    rows = []
    for problem in study.problems:
        for label in study.labels:
            if (problem, label) not in study.cells:
                continue
            cell = tried[problem, label]
            ran = cell[data["seconds"][cell] > 0]
            if not len(ran):
                continue
            timed = ran[lone[ran]]
            if not len(timed):  # perhaps another learning rate was: its steps are the same work
                others = same.get((problem, same_work(label)), cell)
                timed = others[lone[others] & (data["seconds"][others] > 0)]
            alone = bool(len(timed))
            used = timed if alone else ran
            own = {name: values[used] for name, values in data.items()}
            flops = float(np.median(own["flops"] / own["seconds"]))
            peak = _ceiling(ceilings[folder[used[0]]], str(device[used[0]]))
            memory = own["peak_bytes"][np.isfinite(own["peak_bytes"])]
            rows.append(
                {"problem": problem, "label": label, "device": device[used[0]], "comparable": alone}
                | {"trials": len(used), "lanes": int(own["lanes"].max())}
                | {"samples_per_second": float(np.median((own["forward"] + own["backward"]) / own["seconds"]))}
                | {"candidates_per_second": float(np.median(own["evaluations"] / own["seconds"]))}
                | {"flops_per_second": flops, "share_of_ceiling": flops / peak}
                | {"own_share": float(np.median(own["own_flops"] / np.maximum(own["flops"], 1)))}
                | _interval("seconds", median_interval(own["seconds"]))
                | {"own_seconds_share": float(np.median(own["own_seconds"] / own["seconds"]))}
                | {"warmup_seconds": float(np.median(own["warmup_seconds"]))}
                | {"peak_bytes": float(memory.max()) if len(memory) else math.nan}
                | {name: float(np.median(own[name])) for name in ("utilisation", "joules")}
            )
    return pd.DataFrame(rows)


def _ceiling(ceilings: dict[str, Any], device: str) -> float:
    value = ceilings.get(device, ceilings.get(device.split(":")[0]))
    return float(value) if isinstance(value, int | float) and value > 0 else math.nan


def statuses(study: Study) -> pd.DataFrame:
    """A row a cell: how its planned trials ended, and the commonest reasons and notes on how they were run.

    That trials ran for their clock on a core of their own is said where speeds are, once.
    """
    status = study.trials["status"].tolist()
    said = [study.trials[name].tolist() for name in ("error", "note")]
    rows = []
    for problem in study.problems:
        for label in study.labels:
            cell = study.cells.get((problem, label))
            if cell is None:
                continue
            reasons = Counter(text for column in said for k in cell if (text := _telling(column[k])))
            row: dict[str, Any] = {"problem": problem, "label": label, "planned": len(cell)}
            row |= Counter(status[k] for k in cell)
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


def _telling(text: Any) -> str:
    parts = text.split("; ") if isinstance(text, str) else []
    return "; ".join(part for part in parts if not part.startswith(OWN_CORE))


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
