"""One row an optimizer: score, targets reached, results missing; and the figures over all problems."""

from __future__ import annotations

from typing import Any

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.figures import anytime
from optbench.report.figures.style import MAX_DRAWN
from optbench.report.format import DASH, between, percent
from optbench.report.sections.base import Content, Drawing, Section

CAPTIONS = {
    "scores": "Left: interquartile mean of the anytime score. Right: the chance that the first ends lower than each.",
    "summary": "Left: share of all (problem, target, seed) hit by a cost. Middle: performance profiles of all. "
    "Right: the profiles of the first two alone, for an order among many can switch.",
}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    values = {"uneven": _uneven(findings), "crowd": _crowd(len(findings.study.labels))}
    figures = {
        "scores": anytime.scores(findings.ranking, drawing.styles),
        "summary": anytime.summary(findings.study, findings.ranking, drawing.styles),
    }
    return Content(values, {}, {"summary": _table(findings)}, figures, CAPTIONS)


def _table(findings: Findings) -> pd.DataFrame:
    """A row an optimizer: trials, those without a result, those that reached each target, the median share left."""
    study, ranking, costs, finals = findings.study, findings.ranking, findings.costs, findings.finals
    rows = []
    unscored = [label for label in study.labels if label not in ranking.iqm]
    for label in [*ranking.order, *unscored]:
        part = findings.statuses[findings.statuses["label"] == label]
        score = between(ranking.iqm[label]) if label in ranking.iqm else DASH
        row: dict[str, Any] = {"optimizer": label, "score (IQM)": score, "family": study.families[label]}
        row |= {"problems": len(part)}
        row["trials"] = int(part["planned"].sum())
        row["no result"] = int(finals.loc[finals["label"] == label, "no_result"].sum())
        for tau in study.taus:
            cells = costs[(costs["label"] == label) & (costs["tau"] == tau)]
            row[f"hits {100 * tau:g} %"] = f"{int(cells['hits'].sum())}/{int(cells['trials'].sum())}"
        left = finals.loc[finals["label"] == label, "left"].dropna()
        row["median share left"] = percent(float(left.median())) if len(left) else DASH
        if study.marks:
            row["tuning"] = study.marks.get(label, DASH)
        rows.append(row)
    return pd.DataFrame(rows)


def _uneven(findings: Findings) -> str:
    study = findings.study
    stated = {frozenset((study.facts.get(problem, {}).get("targets") or {}).keys()) for problem in study.problems}
    if len(stated) < 2:
        return ""
    return "Problems state different targets, those that tell optimizers apart, so each column counts its own problems."


def _crowd(optimizers: int) -> str:
    if optimizers <= MAX_DRAWN:
        return ""
    return f"The figures show the {MAX_DRAWN} optimizers of the highest score; tables and interactive curves have all."


SECTION = Section("summary", "Summary", content)
