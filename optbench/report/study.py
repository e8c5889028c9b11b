"""One or more result folders, put side by side: who competes where, what each trial reached, and at what cost."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from optbench.load import MISSING, Results
from optbench.stats import Array, anytime_score
from optbench.trial import FAILED

LOST = (*FAILED, MISSING, "inapplicable")  # statuses with infinite cost and infinite loss, whatever the curve says
FAMILIES = (
    "gradient",
    "quasi-Newton",
    "swarm",
    "colony",
    "evolution",
    "direct search",
    "dynamic programming",
    "plugin",
    "random",
)


@dataclass
class Study:
    """What every figure and table is computed from.

    trials: a row a trial, unique in (problem, label, seed). On top of the record: `final` (training loss of the
    returned point; infinite for a lost trial), `lowest` (of the curve), `left` (the share of the way from the start
    down to the best known loss that is still to go: 0 is solved, 1 is no progress).
    points: the curves, sorted by trial, column `trial` the row in `trials`.
    labels, problems: in the order of every table and legend.
    """

    names: list[str]
    trials: pd.DataFrame
    points: pd.DataFrame
    facts: dict[str, dict[str, Any]]
    families: dict[str, str]  # by label
    environments: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def labels(self) -> list[str]:
        def order(label: str) -> tuple[int, str]:
            family = self.families[label]
            return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), label)

        return sorted(self.trials["label"].unique(), key=order)

    @cached_property
    def problems(self) -> list[str]:
        seen = list(dict.fromkeys(self.trials["problem"]))
        planned = [name for name in self.facts if name in set(seen)]
        return planned + [name for name in seen if name not in self.facts]

    @cached_property
    def taus(self) -> list[float]:
        """The targets of all problems, easiest first."""
        keys = {float(tau) for fact in self.facts.values() for tau in fact.get("targets") or {}}
        return sorted(keys, reverse=True)

    @cached_property
    def cells(self) -> dict[tuple[str, str], np.ndarray]:
        """(problem, label) -> rows of `trials`, by seed."""
        found: dict[tuple[str, str], list[int]] = {}
        for row, key in enumerate(zip(self.trials["problem"], self.trials["label"], strict=True)):
            found.setdefault(key, []).append(row)
        return {key: np.array(rows) for key, rows in found.items()}

    @cached_property
    def bounds(self) -> np.ndarray:
        """(trials + 1,) where each trial's points begin."""
        return np.searchsorted(self.points["trial"].to_numpy(), np.arange(len(self.trials) + 1))

    @cached_property
    def lost(self) -> np.ndarray:
        return self.trials["status"].isin(LOST).to_numpy()

    def curve(self, row: int, *names: str) -> tuple[Array, ...]:
        """Columns of one trial's curve."""
        part = slice(self.bounds[row], self.bounds[row + 1])
        return tuple(self._column(name)[part] for name in names)

    def only(self, labels: Sequence[str]) -> Study:
        """The same study as seen by a figure of fewer optimizers."""
        other = copy.copy(self)
        other.__dict__["labels"] = [label for label in self.labels if label in set(labels)]
        return other

    @cached_property
    def _columns(self) -> dict[str, Array]:
        columns: dict[str, Array] = {name: self.points[name].to_numpy() for name in self.points.columns}
        if {"forward", "backward"} <= columns.keys():
            columns["samples"] = columns["forward"] + columns["backward"]
        return columns

    def _column(self, name: str) -> Array:
        return self._columns[name]

    def costs(self, axis: str = "passes") -> Array:
        """(trials, taus) cost on `axis` of the first curve point at or below each target; infinite where none is."""
        loss, cost = self._column("loss"), self._column(axis)
        owner = self.points["trial"].to_numpy()
        out = np.full((len(self.trials), len(self.taus)), np.inf)
        for k, tau in enumerate(self.taus):
            goals = {name: self.target(name, tau) for name in self.problems}
            goal = np.array([goals[name] for name in self.trials["problem"]], dtype=float)
            hit = loss <= goal[owner]  # NaN on either side is no hit
            np.minimum.at(out[:, k], owner[hit], cost[hit])
        out[self.lost] = np.inf
        return out

    @cached_property
    def passes_to(self) -> Array:
        return self.costs("passes")

    @cached_property
    def score(self) -> Array:
        """(trials,) anytime scores in [0, 1]; NaN on problems that state no targets."""
        goals = np.array([[math.isfinite(self.target(p, tau)) for tau in self.taus] for p in self.problems], dtype=bool)
        place = {name: k for k, name in enumerate(self.problems)}
        own = np.array([place[name] for name in self.trials["problem"]], dtype=int)
        budgets = self.trials["budget"].to_numpy(dtype=float)
        out = np.full(len(self.trials), np.nan)
        for k in range(len(self.problems)):
            rows = np.flatnonzero(own == k)
            if len(self.taus) and goals[k].any():
                out[rows] = anytime_score(self.passes_to[rows][:, goals[k]], budgets[rows])
        return out

    def target(self, problem: str, tau: float) -> float:
        """The loss to reach, or NaN where the problem states no such target."""
        targets = self.facts.get(problem, {}).get("targets") or {}
        return next((_number(value) for key, value in targets.items() if float(key) == tau), math.nan)

    def best(self, problem: str) -> tuple[float, str]:
        """The lowest loss known and its source; (NaN, "unknown") where the folder does not say."""
        best = self.facts.get(problem, {}).get("best") or {}
        return _number(best.get("value")), str(best.get("source", "unknown"))

    def incomplete(self) -> int:
        return int((self.trials["status"] == MISSING).sum())

    def timed(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, bool]:
        """The rows whose seconds may be compared (alone on the machine), or all rows and False."""
        rows = np.asarray(rows)
        alone = rows[self.trials["alone"].to_numpy()[rows]]
        return (alone, True) if len(alone) else (rows, False)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def study(folders: Sequence[Results]) -> Study:
    """Put folders side by side. With several, a label carries its folder's name, so that none are pooled."""
    names = _names(folders)
    notes: list[str] = []
    tables, points, offset = [], [], 0
    facts: dict[str, dict[str, Any]] = {}
    families: dict[str, str] = {}
    for name, results in zip(names, folders, strict=True):
        mark = f"{name}: " if len(folders) > 1 else ""
        notes += [mark + note for note in results.notes]
        trials, rest = _unique(results, mark, notes)
        trials["folder"], trials["plain"] = name, trials["label"]
        trials["label"] += _suffix(trials, name if len(folders) > 1 else "")
        kinds = results.environment.get("optimizers") or {}
        for label, optimizer in zip(trials["label"], trials["optimizer"], strict=True):
            families.setdefault(label, str((kinds.get(optimizer) or {}).get("family", "plugin")))
        for problem, fact in (results.environment.get("problems") or {}).items():
            known = facts.setdefault(problem, fact)
            if known.get("targets") != fact.get("targets"):
                notes.append(f"{problem}: the folders state different targets; those of {names[0]} are used for both.")
        rest["trial"] += offset
        offset += len(trials)
        tables.append(trials)
        points.append(rest)
    whole = Study(
        names,
        pd.concat(tables, ignore_index=True),
        pd.concat(points, ignore_index=True),
        facts,
        families,
        [results.environment for results in folders],
        notes,
    )
    _score(whole)
    return whole


def _names(folders: Sequence[Results]) -> list[str]:
    """Short folder names, made unique."""
    names = [results.folder.resolve().name for results in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{chr(ord('A') + k)}:{name}" for k, name in enumerate(names)]


def _suffix(trials: pd.DataFrame, folder: str) -> pd.Series:
    """What a label needs to be told apart: the device where there are several, and the folder."""
    devices = trials["device"].dropna().unique()
    device = " @" + trials["device"].astype(str) if len(devices) > 1 else pd.Series("", index=trials.index)
    return device + (f" ({folder})" if folder else "")


def _unique(results: Results, mark: str, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One trial a (problem, label, seed, device): the planned one, else that of the largest budget.

    A folder that was run again with other budgets holds both; pooling them would count a seed twice.
    """
    trials = results.trials
    planned = trials["key"].isin({entry["key"] for entry in results.environment.get("plan", [])})
    order = pd.DataFrame({"planned": planned, "budget": trials["budget"]}).sort_values(["planned", "budget"]).index
    who = ["problem", "label", "seed", "device"]
    keep = trials.loc[order, who].drop_duplicates(keep="last").index.sort_values()
    if len(keep) < len(trials):
        notes.append(f"{mark}{len(trials) - len(keep)} trial(s) of another budget are left out: one a seed counts.")
    new = pd.Series(np.arange(len(keep)), index=keep)
    points = results.points[results.points["trial"].isin(keep)].copy()
    points["trial"] = points["trial"].map(new).astype(int)
    return trials.loc[keep].reset_index(drop=True), points


def _score(study: Study) -> None:
    """Add `final`, `lowest` and `left` to the trials."""
    n = len(study.trials)
    loss = study.points["loss"].to_numpy()
    owner = study.points["trial"].to_numpy()
    final, lowest = np.full(n, np.inf), np.full(n, np.inf)
    final[owner] = loss  # points are sorted, so the last one stays
    np.fmin.at(lowest, owner, loss)
    final[np.isnan(final)] = np.inf
    final[study.lost] = np.inf
    best = np.array([study.best(name)[0] for name in study.trials["problem"]], dtype=float)
    start = np.array([_start(study.facts.get(name, {})) for name in study.trials["problem"]], dtype=float)
    study.trials["final"], study.trials["lowest"] = final, lowest
    study.trials["gap"] = final - best
    study.trials["left"] = (final - best) / np.where(start > best, start - best, np.nan)


def _start(fact: Mapping[str, Any]) -> float:
    return _number(fact.get("start"))
