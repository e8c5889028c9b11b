"""How the planned trials ended, and why."""

from __future__ import annotations

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.study import Study
from optbench.report.format import listed, plural
from optbench.report.sections.base import Content, Drawing, Section


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    trials = findings.settings.trials.drop(columns=["certificate"])
    if findings.chosen is not None:
        trials = trials.assign(chosen=findings.chosen)
    numbers = {"statuses": findings.statuses, "trials": trials}
    return Content({"line": _line(findings.settings)}, numbers, {"statuses": _text(findings.statuses)})


def _line(study: Study) -> str:
    counts = study.trials["status"].value_counts()
    ended = listed([f"{n} {status}" for status, n in counts.items()])
    return f"Of {plural(len(study.trials), 'planned trial')}: {ended}."


def _text(table: pd.DataFrame) -> pd.DataFrame:
    """The cells in which a trial has no result or did not run as planned."""
    if not len(table):
        return table
    names = [name for name in table.columns if name not in ("problem", "label", "planned", "reasons")]
    well = table[[name for name in names if name in ("spent", "finished")]].sum(axis=1)
    return table[(well < table["planned"]) | (table["reasons"] != "")].rename(columns={"label": "optimizer"})


SECTION = Section("statuses", "Statuses", content)
