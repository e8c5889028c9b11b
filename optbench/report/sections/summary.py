"""One row an optimizer: score, targets reached, results missing; and the figures over all problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.study import INAPPLICABLE, Study
from optbench.report.figures import anytime
from optbench.report.format import DASH, between, percent, plural, target_name
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences.measured_from import measured_from

MAX_TARGETS = 4  # columns of the summary; tables/hits.csv has all
CAPTIONS = {
    "scores": "Left: interquartile mean of the anytime score. Right: the chance that the first ends lower than each.",
    "summary": "Left: share of all (problem, target, seed) hit by a cost. Middle: performance profiles of all. "
    "Right: the profiles of the first two alone, for an order among many can switch.",
}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    seen = " ".join(measured_from(findings.study))
    values = {"seen": seen, "uneven": _uneven(findings), "unit": findings.study.unit, "plain": not len(findings.costs)}
    figures = {
        "scores": partial(anytime.scores, findings.ranking, drawing.styles),
        "summary": partial(anytime.summary, findings.study, findings.ranking, drawing.styles),
    }
    return Content(values, {"hits": hits(findings.costs)}, {"summary": _table(findings)}, {}, {}, figures, CAPTIONS)


def _table(findings: Findings) -> pd.DataFrame:
    """A row an optimizer: trials and how they ended, those that reached the main targets, the median share left.

    The ranked come first, then those that are not ranked, then those without a score.
    """
    study, ranking = findings.study, findings.ranking
    unscored = [label for label in study.labels if label not in ranking.iqm and label not in ranking.apart]
    taus = main_targets(study)
    rows = [_row(findings, label, taus) for label in [*ranking.order, *ranking.apart, *unscored]]
    table = pd.DataFrame(rows)
    table.attrs["high_first"] = ["score (IQM)", "on validation", *(name for name in table if "target" in str(name))]
    return table


def _row(findings: Findings, label: str, taus: Sequence[float]) -> dict[str, Any]:
    study, ranking, costs, finals = findings.study, findings.ranking, findings.costs, findings.finals
    part = findings.statuses[findings.statuses["label"] == label]
    score = between(ranking.iqm[label]) if label in ranking.iqm else "not ranked" if label in ranking.apart else DASH
    applies = sum(study.applies(problem, label) for problem in study.problems)
    unfit = int(part[INAPPLICABLE].sum()) if INAPPLICABLE in part else 0
    row: dict[str, Any] = {"optimizer": label, "score (IQM)": score}
    if second := findings.generalising:
        iqm = second.ranking.iqm
        row["on validation"] = between(iqm[label]) if label in iqm else "not ranked"
    row["family"] = study.families[label]
    row |= {"applies to": f"{applies}/{len(part)}", "trials": int(part["planned"].sum()) - unfit}
    row["failed or missing"] = int(finals.loc[finals["label"] == label, "no_result"].sum()) - unfit
    row |= target_cells(study, costs, label, taus)
    left = finals.loc[finals["label"] == label, "left"].dropna()
    row["median share left"] = percent(float(left.median())) if len(left) else DASH
    if study.marks:
        row["tuning"] = study.marks.get(label, DASH)
    return row


def target_cells(study: Study, costs: pd.DataFrame, label: str, taus: Sequence[float]) -> dict[str, str]:
    """{a target: trials that reached it, of all planned on the problems that state it}."""
    own = {tau: costs[(costs["label"] == label) & (costs["tau"] == tau)] for tau in taus}
    return {
        _column(study, costs, tau): f"{int(cells['hits'].sum())}/{int(cells['trials'].sum())}"
        for tau, cells in own.items()
    }


def _column(study: Study, costs: pd.DataFrame, tau: float) -> str:
    """The target, and on how many problems where not all state it."""
    stated = int(costs.loc[costs["tau"] == tau, "problem"].nunique())
    return target_name(tau) + (f", {plural(stated, 'problem')}" if stated < len(study.problems) else "")


def main_targets(study: Study) -> list[float]:
    """The targets of the summary, easiest first: the headline, and the others that most problems state."""
    if not study.taus:
        return []
    stated = {tau: sum(math.isfinite(study.target(problem, tau)) for problem in study.problems) for tau in study.taus}
    often = sorted(study.taus, key=lambda tau: (tau != study.headline, -stated[tau], -tau))[:MAX_TARGETS]
    return [tau for tau in study.taus if tau in often]


def hits(costs: pd.DataFrame) -> pd.DataFrame:
    """A row an (optimizer, target): problems that state it, trials planned on them, hits."""
    if not len(costs):
        return pd.DataFrame(columns=["label", "tau", "problems", "trials", "hits"])
    by = costs.groupby(["label", "tau"], sort=False)
    return by.agg(problems=("problem", "nunique"), trials=("trials", "sum"), hits=("hits", "sum")).reset_index()


def _uneven(findings: Findings) -> str:
    study = findings.study
    stated = {frozenset((study.facts.get(problem, {}).get("targets") or {}).keys()) for problem in study.problems}
    if len(stated) < 2:
        return ""
    return (
        "Problems state different targets, those that tell optimizers apart. Each column counts the problems that "
        "state its target, so columns must not be compared with each other."
    )


SECTION = Section("summary", "Leaderboard", content)
