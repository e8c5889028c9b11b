"""What the filters of the page compute from: what every reported trial paid for every target, by question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.kinds import kind_of, size_of
from optbench.report.analysis.ranking import NOT_COUNTED, NOT_TUNED, Ranking, units
from optbench.report.analysis.study import TUNED, Study
from optbench.report.figures.style import Style
from optbench.report.format import plain

DIGITS = 6  # of a cost
NOT_STATED = -1  # where a cost would stand


def data(findings: Findings, styles: Mapping[str, Style]) -> dict[str, Any]:
    """Labels, problems and questions as plain values; a miss is null. templates/scripts/standings.js reads it."""
    study, second = findings.study, findings.generalising
    return {
        "unit": study.unit,
        "labels": [
            {"name": label, "short": plain(label, study.labels), "family": study.families[label]}
            | {"colour": styles[label].colour, "dash": styles[label].dash}
            | {"tuned": study.marks.get(label, "") == TUNED}
            for label in study.labels
        ],
        "problems": [_problem(name, study.facts.get(name, {})) for name in study.problems],
        "questions": [_question(one, study.problems) for one in (findings, second) if one is not None],
    }


def _problem(name: str, fact: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "track": fact.get("track") or "", "kind": kind_of(name, fact), "size": size_of(fact)}


def _question(findings: Findings, problems: Sequence[str]) -> dict[str, Any]:
    study, ranking = findings.study, findings.ranking
    place = {problem: k for k, problem in enumerate(problems)}
    stated = {p: [k for k, tau in enumerate(study.taus) if math.isfinite(study.target(p, tau))] for p in study.problems}
    scored = [problem for problem in study.problems if stated[problem]]
    fixed = {label: why for label, why in ranking.apart.items() if why in (NOT_TUNED, NOT_COUNTED)}
    return {
        "name": study.question.name,
        "taus": study.taus,
        "headline": study.headline if study.taus else None,
        "labels": study.labels,
        "apart": fixed,
        "stated": [[study.taus[k] for k in stated.get(problem, [])] for problem in problems],
        "units": [[place[p] for p in members] for members in units(scored, study.groups).values()],
        "cells": {
            f"{place[problem]},{k}": _cell(study, problem, label, stated[problem])
            for problem in scored
            for k, label in enumerate(study.labels)
            if (problem, label) in study.cells
        },
        "order": _order(ranking),
    }


def _cell(study: Study, problem: str, label: str, stated: Sequence[int]) -> dict[str, Any]:
    rows = study.cells[problem, label]
    rows = rows[~np.isnan(study.score[rows])]
    return {
        "budget": float(np.max(study.trials["budget"].to_numpy(dtype=float)[rows], initial=1.0)),
        "applies": study.applies(problem, label),
        "costs": [_costs(study, row, stated) for row in rows],
    }


def _costs(study: Study, row: int, stated: Sequence[int]) -> list[float | None]:
    """What a trial paid for each of these targets; NOT_STATED for one that its split of the data does not state."""
    known = study.stated[row]
    if not known.any():  # a split on which nobody left the start is a miss of all
        return [None] * len(stated)
    return [_short(study.passes_to[row, k]) if known[k] else NOT_STATED for k in stated]


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _order(ranking: Ranking) -> list[dict[str, Any]]:
    """The ranked, best first, with the intervals of the whole and what is claimed of the first against each.

    The page shows these where nothing is left out. claim: of problems like these, "first", "better", "same" or "open".
    """
    return [
        {"label": label, "score": found.estimate}
        | {"claim": "first" if label == ranking.order[0] else ranking.claim(ranking.order[0], label)}
        | ({"low": found.low, "high": found.high} if math.isfinite(found.low) else {"low": None, "high": None})
        for label in ranking.order
        if (found := ranking.iqm[label])
    ]
