"""Seconds that may be compared: those of trials that had the machine to themselves, applied to the others' passes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from optbench.core.trial import same_work
from optbench.report.analysis.statistics import Array
from optbench.report.analysis.study import places_of


def clock(trials: pd.DataFrame, points: pd.DataFrame, bounds: np.ndarray) -> tuple[Array, np.ndarray]:
    """((points,) seconds to compare, (trials,) whether they may be compared).

    Seeds and settings of one optimizer on one problem do the same work a pass. So one trial that ran alone tells the
    seconds of them all: its (passes, seconds) curve is read at their passes, and continued at its mean rate. Where none
    of them ran alone, one does that differs in its learning rate; where there is none either, the clock is the shared
    one of the record, which must not be compared.
    """
    seconds = points["seconds"].to_numpy(dtype=float)
    passes = points["passes"].to_numpy(dtype=float)
    out = seconds.copy()
    comparable = trials["alone"].to_numpy(dtype=bool).copy()
    same = alike(trials)
    for (problem, competitor), rows in groups(trials).items():
        reference = _reference(trials, bounds, rows)
        if reference is None:
            reference = _reference(trials, bounds, same[problem, same_work(competitor)])
        if reference is None:
            continue
        own = slice(bounds[reference], bounds[reference + 1])
        at = places_of(bounds, rows[~comparable[rows]])
        out[at] = _read(passes[own], seconds[own], passes[at])
        comparable[rows] = True
    return out, comparable


def groups(trials: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(problem, competitor) -> rows of `trials`: what one trial alone on the machine stands for."""
    return _rows_by(zip(trials["problem"], trials["competitor"], strict=True))


def alike(trials: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(problem, competitor without its learning rate) -> rows of `trials`, whose steps are the same work."""
    labels = {label: same_work(str(label)) for label in trials["competitor"].unique()}
    return _rows_by(zip(trials["problem"], trials["competitor"].map(labels), strict=True))


def _rows_by(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], np.ndarray]:
    found: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        found.setdefault(key, []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


def _reference(trials: pd.DataFrame, bounds: np.ndarray, rows: np.ndarray) -> int | None:
    """The trial of the middle pace among those of `rows` that ran alone and spent anything."""
    spent, seconds = (trials[name].to_numpy(dtype=float)[rows] for name in ("passes", "seconds"))
    ran = (bounds[rows + 1] > bounds[rows]) & (spent > 0) & (seconds > 0)
    alone = np.flatnonzero(trials["alone"].to_numpy(dtype=bool)[rows] & ran)
    if not len(alone):
        return None
    pace = seconds[alone] / spent[alone]
    return int(rows[alone[np.argsort(pace, kind="stable")[(len(alone) - 1) // 2]]])


def _read(passes: Array, seconds: Array, at: Array) -> Array:
    beyond = np.maximum(at - passes[-1], 0.0) * (seconds[-1] / passes[-1] if passes[-1] > 0 else 0.0)
    return np.asarray(np.interp(at, passes, seconds) + beyond)
