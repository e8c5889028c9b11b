"""A result folder as tables: `load(DIR)` has a row a trial, `curves(DIR)` a row a point. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from optbench.core.trial import RequestError, spec
from optbench.records.files import BrokenEnvironmentError, has_results, read_environment, stored_lines
from optbench.records.schema import RECORDS, Record

MAX_FINITE = 1e290  # beyond it a number counts as not finite: no scale, mean or margin of a figure could hold it
BLOCK = 512  # curves that are put together
MISSING = "missing"  # the status of a planned trial without a record

_COUNTS = ("forward", "backward", "evaluations", "nonfinite", "flops")
_WHO = ("key", "problem", "optimizer", "label", "seed", "split", "budget", "device")
_CLOCKS = ("seconds", "warmup_seconds", "wall_seconds")
_GPU = ("utilisation", "joules")
_SPENT = ("passes", *_CLOCKS, "own_flops", "own_seconds", "state_bytes", "peak_bytes", "samples_per_second", *_GPU)
_FIELDS = (*_WHO, "status", "error", "note", "lanes", "alone", "machine", *_COUNTS, *_SPENT, "fingerprint")
_FLOATS = ("budget", *_SPENT)
_AXES = ("passes", "forward", "backward", "seconds", "own_flops", "loss")


@dataclass
class Results:
    """One result folder, read.

    trials: a row a trial, planned trials without a record included (status "missing"); its index is 0..n-1.
    points: a row a curve point, sorted by trial; column `trial` is the row in `trials`.
    notes: what could not be read, one plain sentence each.
    """

    folder: Path
    trials: pd.DataFrame
    points: pd.DataFrame
    environment: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def load(folder: str | Path) -> pd.DataFrame:
    """A row a trial: what its record says, its label, and the last loss and metrics of its curve (`last_loss`, ...)."""
    results = read(folder)
    trials, points = results.trials, results.points
    if len(points):
        last = points.groupby("trial").last(skipna=False)
        keep = [name for name in last.columns if name not in _AXES or name == "loss"]
        trials = trials.join(last[keep].add_prefix("last_"))
    return trials


def curves(folder: str | Path) -> pd.DataFrame:
    """A row a curve point, with the key, problem, label and seed of its trial."""
    results = read(folder)
    who = results.trials[["key", "problem", "optimizer", "label", "seed", "status", "alone"]]
    return results.points.join(who, on="trial").drop(columns="trial")


def read(folder: str | Path, only: Callable[[Iterator[bytes]], Iterator[bytes]] | None = None) -> Results:
    """Read a result folder, complete or not. Raises RequestError where there is no such folder.

    only: passes on those stored lines that are wanted; all are where it is left out.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RequestError(f"no result folder {str(folder)!r}; `python -m optbench run --out DIR` makes one")
    notes: list[str] = []
    environment = _environment(folder, notes)
    records, curves = _records(folder, notes, only)
    if not records and not environment and not has_results(folder):
        raise RequestError(f"{str(folder)!r} holds no results: no records.jsonl, environment.json or suite.toml")
    return Results(folder, _trials(records, environment.get("plan", [])), curves.table(), environment, notes)


def _environment(folder: Path, notes: list[str]) -> dict[str, Any]:
    try:
        environment = read_environment(folder)
    except BrokenEnvironmentError as error:
        notes.append(f"environment.json is not readable ({error}): targets, optima, plan and machine are unknown.")
        return {}
    if not environment:
        notes.append("environment.json is absent: targets, optima, the plan and the machine are unknown.")
    return environment


@dataclass
class _Curve:
    """One trial's points as numbers: (points, names)."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]


class _Curves:
    """The curves of all trials in order, in large blocks: many small ones would leave memory in pieces."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._blocks: list[_Curve] = []
        self._last: list[_Curve] = []  # that are in no block yet

    def add(self, curve: _Curve) -> None:
        self.lengths.append(len(curve.values))
        self._last.append(curve)
        if len(self._last) == BLOCK:
            self._close()

    def _close(self) -> None:
        for names, some in groupby(self._last, key=lambda curve: curve.names):
            self._blocks.append(_Curve(names, np.concatenate([curve.values for curve in some])))
        self._last = []

    def table(self) -> pd.DataFrame:
        """Curve points as float columns; a value a point lacks is NaN. Gives up what it holds."""
        self._close()
        names = tuple(dict.fromkeys((*_AXES, *(name for block in self._blocks for name in block.names))))
        columns = {name: np.full(sum(self.lengths), np.nan) for name in names}
        at = 0
        for block in self._blocks:
            for k, name in enumerate(block.names):
                columns[name][at : at + len(block.values)] = block.values[:, k]
            at += len(block.values)
        self._blocks = []
        return pd.DataFrame({"trial": np.repeat(np.arange(len(self.lengths)), self.lengths), **columns})


def _records(
    folder: Path, notes: list[str], only: Callable[[Iterator[bytes]], Iterator[bytes]] | None
) -> tuple[list[Record], _Curves]:
    """The records and, apart, their curves; the first line of a key counts; what is no record is noted."""
    found: dict[str, Record] = {}
    curves = _Curves()
    bad: list[str] = []
    again = 0
    try:
        for line in stored_lines(folder, only):
            record = line.record
            if record is None:
                bad.append(f"line {line.number}: {line.reason}")
                continue
            if record.key in found:
                again += 1
                continue
            found[record.key] = record
            curves.add(_curve(record.curve))
            record.curve = []  # a million points as dictionaries are a gigabyte
    except FileNotFoundError:
        notes.append(f"{RECORDS} is absent: no trial has ended yet.")
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        notes.append(f"{len(bad)} line(s) of records.jsonl are no records: {'; '.join(bad[:3])}{more}.")
    if again:
        notes.append(f"{again} trial(s) were recorded again; the first record of each counts.")
    return [*found.values()], curves


def _curve(points: list[dict[str, float]]) -> _Curve:
    names = tuple(dict.fromkeys(name for point in (*points[:1], *points[-1:]) for name in point))
    try:
        rows = [*map(itemgetter(*names), points)] if len(names) > 1 else [[point[names[0]]] for point in points]
    except KeyError:  # points of different kinds
        rows = [[point.get(name, math.nan) for name in names] for point in points]
    try:
        values = np.array(rows, dtype=float).reshape(len(rows), len(names))
    except (TypeError, ValueError):  # somebody's metric is no number: the others still are
        values = np.array([[_number(value) for value in row] for row in rows], dtype=float)
    values[np.abs(values) > MAX_FINITE] = math.nan
    return _Curve(names, values)


def _trials(records: list[Record], plan: list[Mapping[str, Any]]) -> pd.DataFrame:
    rows = [
        {name: getattr(r, name, None) for name in _FIELDS} | {"hyper": r.hyper, "certificate": r.certificate}
        for r in records
    ]
    known = {record.key for record in records}
    for planned in plan:
        if planned["key"] in known:
            continue
        hyper = dict(planned.get("hyper") or {})
        rows.append(
            {name: planned.get(name) for name in ("key", "problem", "optimizer", "seed", "budget", "device")}
            | {"label": spec(planned["optimizer"], hyper), "hyper": hyper, "certificate": None, "status": MISSING}
            | {"alone": False, "error": "planned, but no record was left", "lanes": 0, "fingerprint": "", "machine": ""}
            | dict.fromkeys(_COUNTS, 0)
            | {"split": _number(planned.get("split"))}
        )
    table = pd.DataFrame(rows, columns=[*_FIELDS, "hyper", "certificate"])
    for name in _FLOATS:
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    table["alone"] = table["alone"].astype(bool)
    table["split"] = table["split"].fillna(0).astype(int)
    return table


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else math.nan
