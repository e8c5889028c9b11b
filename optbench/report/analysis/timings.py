"""Seconds that may be compared: those of trials that had the machine to themselves, laid over the others' passes."""

from __future__ import annotations

import numpy as np

from optbench.report.analysis.statistics import Array
from optbench.report.analysis.study import Study


def lay(study: Study) -> None:
    """Add `clock` to the points and `comparable` to the trials.

    Seeds and settings of one optimizer on one problem do the same work a pass, so one trial that ran alone tells the
    seconds of them all: its (passes, seconds) curve is read at their passes, and continued at its mean rate. Where none
    of them ran alone the clock is the shared one of the record, which must not be compared.
    """
    seconds = study.points["seconds"].to_numpy(dtype=float)
    passes = study.points["passes"].to_numpy(dtype=float)
    clock = seconds.copy()
    comparable = study.trials["alone"].to_numpy(dtype=bool).copy()
    for rows in groups(study).values():
        if (pace := _reference(study, rows)) is None:
            continue
        own = slice(study.bounds[pace], study.bounds[pace + 1])
        at = study.places(rows[~comparable[rows]])
        clock[at] = _read(passes[own], seconds[own], passes[at])
        comparable[rows] = True
    study.points["clock"] = clock
    study.trials["comparable"] = comparable


def groups(study: Study) -> dict[tuple[str, str], np.ndarray]:
    """(problem, competitor) -> rows of `trials`: what one trial alone on the machine stands for."""
    found: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(study.trials["problem"], study.trials["competitor"], strict=True)):
        found.setdefault(key, []).append(row)
    return {key: np.array(rows) for key, rows in found.items()}


def _reference(study: Study, rows: np.ndarray) -> int | None:
    """The trial of the middle pace among those of `rows` that ran alone and got anywhere."""
    spent, seconds = (study.trials[name].to_numpy(dtype=float)[rows] for name in ("passes", "seconds"))
    ran = (study.bounds[rows + 1] > study.bounds[rows]) & (spent > 0) & (seconds > 0)
    alone = np.flatnonzero(study.trials["alone"].to_numpy(dtype=bool)[rows] & ran)
    if not len(alone):
        return None
    pace = seconds[alone] / spent[alone]
    return int(rows[alone[np.argsort(pace, kind="stable")[(len(alone) - 1) // 2]]])


def _read(passes: Array, seconds: Array, at: Array) -> Array:
    beyond = np.maximum(at - passes[-1], 0.0) * (seconds[-1] / passes[-1] if passes[-1] > 0 else 0.0)
    return np.asarray(np.interp(at, passes, seconds) + beyond)
