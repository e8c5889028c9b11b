"""Result folders as one study: who competes where, what each trial reached, and at what cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from optbench.core.trial import FAILED
from optbench.records.analysis import Analysis
from optbench.records.reader import MISSING
from optbench.records.splits import fact_of
from optbench.report.analysis.final_points import RETURNED, final_points
from optbench.report.analysis.question import TRAINING, Question
from optbench.report.analysis.splits import OF_EACH, divisions
from optbench.report.analysis.statistics import Array, anytime_score

INAPPLICABLE = "inapplicable"
TOTAL, ORACLE = "total", "oracle"  # the axes
TUNED, UNTUNED = "tuned", "untuned"  # how the mark of an optimizer begins where the suite tunes
FREE = "fixes"  # in the mark of an untuned optimizer that has settings which others of its kind were tuned in
NO_RESULT = (*FAILED, MISSING, INAPPLICABLE)  # statuses with infinite cost and infinite loss, whatever the curve says
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


@dataclass(frozen=True)
class Study:
    """What every figure and table is computed from. Never changed once `load_study` has built it.

    names: the folders' short names. facts: what environment.json states of each problem.
    trials: a row a trial, unique in (problem, label, seed). On top of the record: `final` (the loss that the question
    scores, at the point that stands for the trial at the budget; infinite for a trial without a result), `lowest` (of
    the whole curve), `best` (the best known loss on its split of the data), `gap` (`final` above `best`), `left` (the
    share of the way from the start down to `best` that is still to go: 0 is solved, 1 is no progress), `comparable`
    (its clock may be compared), `competitor` (the label, or the tuned optimizer whose setting this is), `given` (a
    setting of a tuned optimizer that also takes part by itself).
    points: the curves, sorted by trial; column `trial` is the row in `trials`, `clock` the seconds to compare, `passes`
    what is paid for on `axis`.
    labels, problems: in the order of every table and legend.
    More than ten public names, nearly all of them columns that are computed once, when a table first asks for them.
    """

    names: Sequence[str]
    trials: pd.DataFrame
    points: pd.DataFrame
    facts: Mapping[str, dict[str, Any]]
    families: Mapping[str, str]  # by label
    environments: Sequence[dict[str, Any]]
    notes: Sequence[str] = ()
    marks: Mapping[str, str] = field(default_factory=dict)  # by label: whether and how it was tuned, if the suite tunes
    question: Question = TRAINING
    axis: str = ORACLE  # what a pass counts: the problem's work and the optimizer's own, or the problem's alone
    unit: str = "passes"  # of the budget, and so of `passes` and `budget` in the tables
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # near-duplicates that count as one problem
    alpha: float = 0.05  # the level of the tests
    followed: tuple[Analysis, int, Sequence[str]] | None = None  # the analysis of the suite, see `load_study`
    scored: str = RETURNED  # which point stands for a trial at the budget, see `final_points`

    @cached_property
    def labels(self) -> list[str]:
        def order(label: str) -> tuple[int, Any]:
            family = self.families[label]
            return (FAMILIES.index(family) if family in FAMILIES else len(FAMILIES), natural(label))

        return sorted(self.trials["label"].unique(), key=order)

    @cached_property
    def problems(self) -> list[str]:
        seen = list(dict.fromkeys(self.trials["problem"]))
        planned = [name for name in self.facts if name in set(seen)]
        return planned + [name for name in seen if name not in self.facts]

    @cached_property
    def taus(self) -> list[float]:
        """The targets of all problems, easiest first."""
        of_splits = [own for fact in self.facts.values() for own in (fact, *(fact.get("splits") or {}).values())]
        keys = {float(tau) for fact in of_splits for tau in self.question.goal(fact).get("targets") or {}}
        return sorted(keys, reverse=True)

    @cached_property
    def cells(self) -> dict[tuple[str, str], np.ndarray]:
        """(problem, label) -> rows of `trials`, by seed."""
        found: dict[tuple[str, str], list[int]] = {}
        problem, label = (self.trials[name].to_numpy(dtype=object) for name in ("problem", "label"))
        for row, key in enumerate(zip(problem, label, strict=True)):
            found.setdefault(key, []).append(row)
        return {key: np.array(rows) for key, rows in found.items()}

    @cached_property
    def place(self) -> np.ndarray:
        """(trials,) the place of each trial's problem in `problems`."""
        return np.asarray(pd.Index(self.problems).get_indexer(pd.Index(self.trials["problem"])))

    @cached_property
    def _divisions(self) -> tuple[list[tuple[str, int]], np.ndarray]:
        return divisions(self.trials)

    @cached_property
    def splits(self) -> dict[str, list[int]]:
        """{problem: the splits of its data that trials used}."""
        found: dict[str, list[int]] = {name: [] for name in self.problems}
        for problem, split in self._divisions[0]:
            found[problem].append(split)
        return found

    @cached_property
    def bounds(self) -> np.ndarray:
        """(trials + 1,) where each trial's points begin."""
        return bounds_of(self.points, len(self.trials))

    @cached_property
    def last(self) -> dict[str, Array]:
        """The columns of the point that stands for each trial, (trials,) each; NaN for a trial without one."""
        ends = final_points(self.trials, self.points, self.question.loss, self.axis == TOTAL, self.scored)
        some = ends >= 0
        out = {}
        for name, values in self._columns.items():
            out[name] = np.full(len(self.trials), np.nan)
            out[name][some] = values[ends[some]]
        return out

    @cached_property
    def no_result(self) -> np.ndarray:
        """(trials,) whether a trial has no result: it failed, does not apply, or left no record."""
        return has_no_result(self.trials)

    def places(self, rows: np.ndarray) -> np.ndarray:
        """The rows of `points` that belong to some rows of `trials`, trial by trial."""
        return places_of(self.bounds, rows)

    def curve(self, row: int, *names: str) -> tuple[Array, ...]:
        """Columns of one trial's curve."""
        part = slice(self.bounds[row], self.bounds[row + 1])
        return tuple(self._column(name)[part] for name in names)

    @cached_property
    def _columns(self) -> dict[str, Array]:
        columns: dict[str, Array] = {name: self.points[name].to_numpy() for name in self.points.columns}
        if {"forward", "backward"} <= columns.keys():
            columns["samples"] = columns["forward"] + columns["backward"]
        return columns

    def _column(self, name: str) -> Array:
        return self._columns[name]

    def costs(self, axis: str = "passes") -> Array:
        """(trials, taus) cost on `axis` of the first curve point at or below each target; infinite where none is.

        What is reached after the budget is spent, own work included, is not reached.
        """
        if self.question.loss not in self._columns:
            return np.full((len(self.trials), len(self.taus)), np.inf)
        loss, cost = self._column(self.question.loss), self._column(axis)
        owner = self.points["trial"].to_numpy()
        out = np.full((len(self.trials), len(self.taus)), np.inf)
        limit = self.trials["budget"].to_numpy(dtype=float)[owner] * (1 + 1e-9)
        within = (self._column("passes") <= limit) | (self.axis == ORACLE)
        for k, tau in enumerate(self.taus):
            goal = self._target_of_each(tau)
            hit = (loss <= goal[owner]) & within  # NaN on either side is no hit
            np.minimum.at(out[:, k], owner[hit], cost[hit])
        out[self.no_result] = np.inf
        return out

    @cached_property
    def passes_to(self) -> Array:
        return self.costs("passes")

    @cached_property
    def score(self) -> Array:
        """(trials,) anytime scores in [0, 1]; NaN on problems, and splits of their data, that state no targets."""
        pairs, place = self._divisions
        goals = np.array([[math.isfinite(self._target(*one, tau)) for tau in self.taus] for one in pairs], dtype=bool)
        budgets = self.trials["budget"].to_numpy(dtype=float)
        out = np.full(len(self.trials), np.nan)
        for k in range(len(pairs)):
            rows = np.flatnonzero(place == k)
            if len(self.taus) and goals[k].any():
                out[rows] = anytime_score(self.passes_to[rows][:, goals[k]], budgets[rows])
            elif self._nobody_left_the_start(*pairs[k]):
                out[rows] = 0.0
        return out

    def _nobody_left_the_start(self, problem: str, split: int) -> bool:
        """Whether a split has no targets because no trial on it went below the start, while other splits have some."""
        goals = [self.question.goal(fact_of(self.facts.get(problem, {}), k)) for k in (*self.splits[problem], split)]
        return bool(goals[-1].get("taus")) and not goals[-1].get("targets") and any(one.get("targets") for one in goals)

    def target(self, problem: str, tau: float) -> float:
        """The loss to reach, the median over splits of the data; NaN where the problem states no such target."""
        found = [self._target(problem, split, tau) for split in self.splits.get(problem) or [0]]
        found = [value for value in found if math.isfinite(value)]
        return float(np.median(found)) if found else math.nan

    def _target(self, problem: str, split: int, tau: float) -> float:
        targets = self.question.goal(fact_of(self.facts.get(problem, {}), split)).get("targets") or {}
        return next((number(value) for key, value in targets.items() if float(key) == tau), math.nan)

    @cached_property
    def stated(self) -> np.ndarray:
        """(trials, taus) whether each trial's problem, on its split of the data, states the target."""
        columns = [np.isfinite(self._target_of_each(tau)) for tau in self.taus]
        return np.array(columns, dtype=bool).reshape(len(self.taus), len(self.trials)).T

    def _target_of_each(self, tau: float) -> Array:
        """(trials,) the loss to reach on each trial's split."""
        pairs, place = self._divisions
        return np.array([self._target(*one, tau) for one in pairs], dtype=float)[place]

    def best(self, problem: str) -> tuple[float, str]:
        """The lowest loss known and its source; (NaN, "unknown") where the folder does not say, and (NaN, `OF_EACH`)
        where splits of the data have a lowest loss each."""
        fact = self.facts.get(problem, {})
        found = {best_of_fact(self.question.goal(fact_of(fact, split))) for split in self.splits.get(problem) or [0]}
        known = {one for one in found if not math.isnan(one[0])}
        if len(found) > 1 and len(known) > 0:
            return math.nan, OF_EACH
        return next(iter(known)) if known else best_of_fact(self.question.goal(fact))

    def measured_from(self, problem: str) -> set[str]:
        """The sources of the best losses that gaps and targets of a problem are measured from, over its splits."""
        fact = self.facts.get(problem, {})
        return {best_of_fact(self.question.goal(fact_of(fact, k)))[1] for k in self.splits.get(problem) or [0]}

    def asked(self, question: Question) -> Study:
        """The same trials, on the problems that state targets for another question, scored by it."""
        stated = [name for name in self.problems if question.goal(self.facts.get(name, {})).get("targets")]
        study = self.of(np.flatnonzero(self.trials["problem"].isin(stated).to_numpy()))
        return replace(study, question=question).scored_at(self.scored)

    def scored_at(self, scored: str) -> Study:
        """The same trials with another point of the curve standing for each: `RETURNED` or `BEST`."""
        found = outcomes(self.trials, self.points, self.facts, self.question, self.axis, scored)
        return replace(self, trials=self.trials.assign(**found), scored=scored)

    def of(self, rows: np.ndarray, labels: Sequence[str] | None = None) -> Study:
        """A study of some rows of `trials`, under other labels if given, with the families of the old ones."""
        trials = self.trials.iloc[rows].reset_index(drop=True)
        families = self.families
        if labels is not None:
            families = {name: self.families[label] for name, label in zip(labels, trials["label"], strict=True)}
            trials["setting"], trials["label"] = trials["label"], labels
        if np.array_equal(rows, np.arange(len(self.trials))):
            return replace(self, trials=trials, families=families)
        points = self.points.iloc[self.places(rows)].reset_index(drop=True)
        points["trial"] = np.repeat(np.arange(len(rows)), self.bounds[rows + 1] - self.bounds[rows])
        return replace(self, trials=trials, points=points, families=families)

    @cached_property
    def applied(self) -> dict[tuple[str, str], bool]:
        """(problem, label) -> whether the optimizer applies: not all of its trials are inapplicable."""
        status = self.trials["status"].to_numpy() == INAPPLICABLE
        return {key: not bool(status[rows].all()) for key, rows in self.cells.items()}

    def applies(self, problem: str, label: str) -> bool:
        """Whether the optimizer was planned on the problem and applies to it."""
        return self.applied.get((problem, label), False)

    @cached_property
    def headline(self) -> float:
        """The target the verdict speaks of: 1 % where there is one, else the hardest. Needs a stated target."""
        return 0.01 if 0.01 in self.taus else self.taus[-1]

    def comparable(self, rows: np.ndarray) -> bool:
        """Whether the clock of these trials is that of a trial alone on the machine, so that it may be compared."""
        return bool(self._comparable[rows].all())

    @cached_property
    def _comparable(self) -> np.ndarray:
        return self.trials["comparable"].to_numpy(dtype=bool)


def bounds_of(points: pd.DataFrame, trials: int) -> np.ndarray:
    """(trials + 1,) the row of `points` at which each trial begins."""
    return np.searchsorted(points["trial"].to_numpy(), np.arange(trials + 1))


def places_of(bounds: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of the points that belong to some trials (`rows`), trial by trial."""
    first = bounds[rows]
    lengths = bounds[rows + 1] - first
    before = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(int)
    return np.repeat(first - before, lengths) + np.arange(lengths.sum())


def has_no_result(trials: pd.DataFrame) -> np.ndarray:
    """(trials,) whether the status of a trial is one of NO_RESULT."""
    return trials["status"].isin(NO_RESULT).to_numpy()


def outcomes(
    trials: pd.DataFrame,
    points: pd.DataFrame,
    facts: Mapping[str, dict[str, Any]],
    question: Question,
    axis: str = ORACLE,
    scored: str = RETURNED,
) -> dict[str, Array]:
    """The columns `final`, `lowest`, `gap`, `left` and `best` of the trials, (trials,) each; see `Study`."""
    n = len(trials)
    owner = points["trial"].to_numpy()
    loss = points[question.loss].to_numpy() if question.loss in points else np.full(len(points), np.nan)
    final, lowest = np.full(n, np.inf), np.full(n, np.inf)
    ends = final_points(trials, points, question.loss, axis == TOTAL, scored)
    final[ends >= 0] = loss[ends[ends >= 0]]
    np.fmin.at(lowest, owner, loss)
    final[np.isnan(final)] = np.inf
    final[has_no_result(trials)] = np.inf
    pairs, place = divisions(trials)
    goals = [question.goal(fact_of(facts.get(name, {}), split)) for name, split in pairs]
    best = np.array([best_of_fact(goal)[0] for goal in goals])[place]
    start = np.array([number(goal.get("start")) for goal in goals])[place]
    left = (final - best) / np.where(start > best, start - best, np.nan)
    return {"final": final, "lowest": lowest, "gap": final - best, "left": left, "best": best}


def best_of_fact(fact: Mapping[str, Any]) -> tuple[float, str]:
    """The lowest loss a problem states and its source; (NaN, "unknown") where it states none."""
    best = fact.get("best") or {}
    return number(best.get("value")), str(best.get("source", "unknown"))


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """A sort key that puts lr=1 before lr=10, and batch=8 before batch=32: numbers in a name count as numbers."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return tuple((0, float(part), "") if k % 2 else (1, 0.0, part) for k, part in enumerate(parts))


def number(value: Any) -> float:
    """A stated number as a float; NaN for anything else."""
    return float(value) if isinstance(value, int | float) else math.nan
