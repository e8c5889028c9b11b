"""A result folder as tables: `load(DIR)` has a row a trial, `curves(DIR)` a row a point. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_COLUMNS = (*_FIELDS, "hyper", "certificate")
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
    rows, curves = _records(folder, notes, only)
    if not curves.lengths and not environment and not has_results(folder):
        raise RequestError(f"{str(folder)!r} holds no results: no records.jsonl, environment.json or suite.toml")
    return Results(folder, rows.table(environment.get("plan", [])), curves.table(), environment, notes)


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
        self._blocks: list[tuple[int, dict[str, npt.NDArray[np.float64]]]] = []  # how many points, and their columns
        self._last: list[_Curve] = []  # that are in no block yet

    def add(self, curve: _Curve) -> None:
        self.lengths.append(len(curve.values))
        self._last.append(curve)
        if len(self._last) == BLOCK:
            self._close()

    def _close(self) -> None:
        for names, group in groupby(self._last, key=lambda curve: curve.names):
            some = [curve.values for curve in group]
            columns = {name: np.concatenate([values[:, k] for values in some]) for k, name in enumerate(names)}
            self._blocks.append((sum(map(len, some)), columns))
        self._last = []

    def table(self) -> pd.DataFrame:
        """Curve points as float columns; a value a point lacks is NaN. Gives up what it holds, column by column."""
        self._close()
        names = dict.fromkeys((*_AXES, *(name for _, columns in self._blocks for name in columns)))
        columns = {"trial": np.repeat(np.arange(len(self.lengths)), self.lengths)}
        for name in names:
            columns[name] = np.full(sum(self.lengths), np.nan)
            at = 0
            for length, block in self._blocks:
                if name in block:
                    columns[name][at : at + length] = block.pop(name)
                at += length
        self._blocks = []
        return pd.DataFrame(columns, copy=False)


class _Rows:
    """What the records say beside their curves, a list a field: an object a record would take three times as much."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._settings: dict[str, dict[str, Any]] = {}  # that many records share
        self._texts: dict[str, str] = {}

    def add(self, record: Record) -> None:
        for name, column in self.columns.items():
            value = getattr(record, name)
            if isinstance(value, str) and name != "key":
                value = self._texts.setdefault(value, value)
            column.append(value)
        self.columns["hyper"][-1] = self._settings.setdefault(repr(record.hyper), record.hyper)

    def _add_missing(self, planned: Mapping[str, Any]) -> None:
        """A row for a planned trial that left no record."""
        hyper = dict(planned.get("hyper") or {})
        row = (
            {name: planned.get(name) for name in ("key", "problem", "optimizer", "seed", "budget", "device")}
            | {"label": spec(planned["optimizer"], hyper), "hyper": hyper, "status": MISSING}
            | {"alone": False, "error": "planned, but no record was left", "lanes": 0, "fingerprint": "", "machine": ""}
            | dict.fromkeys(_COUNTS, 0)
            | {"split": _number(planned.get("split"))}
        )
        for name, column in self.columns.items():
            column.append(row.get(name))

    def table(self, plan: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
        """A row a record, then a row a planned trial without one. Gives up what it holds."""
        known = set(self.columns["key"])
        for planned in plan:
            if planned["key"] not in known:
                self._add_missing(planned)
        columns = {name: self.columns.pop(name) for name in _COLUMNS}
        table = pd.DataFrame(columns, dtype=None if columns["key"] else object, copy=False)
        for name in _FLOATS:
            table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
        table["alone"] = table["alone"].astype(bool)
        table["split"] = table["split"].fillna(0).astype(int)
        return table


def _records(
    folder: Path, notes: list[str], only: Callable[[Iterator[bytes]], Iterator[bytes]] | None
) -> tuple[_Rows, _Curves]:
    """The records and, apart, their curves; the first line of a key counts; what is no record is noted."""
    found: set[str] = set()
    rows, curves = _Rows(), _Curves()
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
            found.add(record.key)
            rows.add(record)
            curves.add(_curve(record.curve))
    except FileNotFoundError:
        notes.append(f"{RECORDS} is absent: no trial has ended yet.")
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        notes.append(f"{len(bad)} line(s) of records.jsonl are no records: {'; '.join(bad[:3])}{more}.")
    if again:
        notes.append(f"{again} trial(s) were recorded again; the first record of each counts.")
    return rows, curves


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


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) else math.nan
