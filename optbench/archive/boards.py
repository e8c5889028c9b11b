"""Leaderboards of an archive: submissions that share problems, by track and size, on equal terms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optbench.records.reader import read
from optbench.records.reference import SAME_PROBLEM
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.question import TRAINING, VALIDATION
from optbench.report.analysis.statistics import Array, Interval, iqm_interval
from optbench.report.analysis.study import TUNED, UNTUNED

SIZES = ((100, "up to 100 parameters"), (1_000, "101 to 1,000 parameters"), (10_000, "1,001 to 10,000 parameters"))
LARGE = "more than 10,000 parameters"
QUESTIONS = (TRAINING, VALIDATION)
ALL = "all tracks", "all sizes"


@dataclass(frozen=True)
class Scored:
    """A submission's scores: {question: {optimizer: {problem: (seeds,) anytime scores}}}, and what its problems are.

    kinds: {problem: (track, size, what makes it that problem: facts and budget)}. marks: {optimizer: how it was tuned}.
    """

    name: str
    scores: Mapping[str, Mapping[str, Mapping[str, Array]]]
    kinds: Mapping[str, tuple[str, str, str]]
    marks: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """An optimizer of a submission on a board."""

    submission: str
    optimizer: str
    score: Interval
    seeds: int
    tuned: str


@dataclass(frozen=True)
class Board:
    """Optimizers on the same problems with the same budgets, best first; for one question, track and size."""

    question: str
    track: str
    size: str
    problems: Sequence[str]
    rows: Sequence[Row]


def scored(folder: Path) -> Scored:
    """The scores of a submission. Who failed on a problem scores 0 there; who does not apply has no score there."""
    study = load_study([read(folder)])
    found = findings(study)
    facts = study.environments[0].get("problems") or {}
    budgets = dict(zip(study.trials["problem"], study.trials["budget"], strict=True))
    kinds = {}
    for problem in study.problems:
        fact = facts.get(problem) or {}
        same = [problem, _rounded(budgets[problem]), {key: _rounded(fact.get(key)) for key in SAME_PROBLEM}]
        kinds[problem] = str(fact.get("track", "unknown")), size(fact.get("dim")), json.dumps(same, sort_keys=True)
    asked = {TRAINING.name: found} | ({VALIDATION.name: found.generalising} if found.generalising else {})
    return Scored(folder.name, {name: _scores(one) for name, one in asked.items()}, kinds, found.study.marks)


def _scores(found: Findings) -> dict[str, dict[str, Array]]:
    study, out = found.study, dict[str, dict[str, Array]]()
    for (problem, label), rows in study.cells.items():
        values = study.score[rows]
        if study.applies(problem, label) and not np.isnan(values).any():
            out.setdefault(label, {})[problem] = values
    return out


def size(dim: Any) -> str:
    """The class of a number of parameters, in words."""
    if not isinstance(dim, int | float):
        return "unknown size"
    return next((words for most, words in SIZES if dim <= most), LARGE)


def _rounded(value: Any) -> Any:
    """Facts as far as they make up a problem: measured numbers differ in their last digits elsewhere."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return {key: _rounded(item) for key, item in sorted(value.items())} if isinstance(value, dict) else value


def boards(submissions: Sequence[Scored]) -> list[Board]:
    """A board for every question, track and size, and each set of problems that some submission has there.

    A submission is on the boards of all sets that it has as a whole, so nobody is compared on problems of his choice:
    whoever has more problems stands beside those with fewer on the problems of both. Most problems first.
    """
    return [board for question in QUESTIONS for board in _boards(submissions, question.name)]


def _boards(submissions: Sequence[Scored], question: str) -> Iterator[Board]:
    taking = [one for one in submissions if question in one.scores]
    places = sorted({(track, words) for one in taking for track, words, _ in one.kinds.values()}, key=_order)
    for place in [ALL, *places] if len(places) > 1 else places:
        own = {one.name: _stated(one, question, place) for one in taking}
        sets = {frozenset(stated) for stated in own.values() if stated}
        for wanted in sorted(sets, key=lambda one: (-len(one), sorted(one))):
            names = {same: problem for stated in own.values() for same, problem in stated.items()}
            rows = [
                row for one in taking if wanted <= own[one.name].keys()
                for row in _rows(one, question, [own[one.name][same] for same in wanted])
            ]  # fmt: skip
            if rows:
                rows.sort(key=lambda row: (-row.score.estimate, row.submission, row.optimizer))
                yield Board(question, *place, sorted(names[same] for same in wanted), rows)


def _order(place: tuple[str, str]) -> tuple[str, int]:
    words = [words for _, words in SIZES]
    return place[0], words.index(place[1]) if place[1] in words else len(words)


def _stated(one: Scored, question: str, place: tuple[str, str]) -> dict[str, str]:
    """{what makes up a problem: its name} of those in a place that any optimizer has a score on."""
    with_score = {problem for scores in one.scores[question].values() for problem in scores}
    return {
        same: problem for problem, (track, words, same) in one.kinds.items()
        if problem in with_score and place in (ALL, (track, words))
    }  # fmt: skip


def _rows(one: Scored, question: str, problems: Sequence[str]) -> Iterator[Row]:
    """The optimizers of a submission that apply to all of the problems."""
    for label, scores in one.scores[question].items():
        if any(problem not in scores for problem in problems):
            continue
        strata = [scores[problem] for problem in sorted(problems)]
        mark = one.marks.get(label, "")
        how = TUNED if mark.startswith(TUNED) else UNTUNED if mark.startswith(UNTUNED) else ""
        yield Row(one.name, label, iqm_interval(strata, np.random.default_rng(0)), min(map(len, strata)), how)
