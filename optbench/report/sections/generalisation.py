"""The second question: settings chosen on validation, scored on validation targets; test losses beside."""

from __future__ import annotations

from functools import partial

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.figures import anytime
from optbench.report.format import DASH, between, number, percent
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sections.summary import hits, main_targets, target_cells

CAPTIONS = {
    "scores_validation": "The same as in the summary, on validation loss.",
    "summary_validation": "Shares of validation targets hit by a cost, and performance profiles.",
}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no problem states targets on validation."""
    second = findings.generalising
    if second is None:
        return None
    figures = {
        "scores_validation": partial(anytime.scores, second.ranking, drawing.styles),
        "summary_validation": partial(anytime.summary, second.study, second.ranking, drawing.styles),
    }
    numbers = {
        "costs_validation": second.costs,
        "finals_validation": second.finals,
        "hits_validation": hits(second.costs),
        "pairs_validation": second.ranking.table(),
    }
    return Content({}, numbers, {"generalisation": _table(second)}, {}, {}, figures, CAPTIONS)


def _table(second: Findings) -> pd.DataFrame:
    """A row an optimizer: its score on validation, targets reached, how often it is best on test, what is left."""
    study, ranking, finals = second.study, second.ranking, second.finals
    lowest = finals.groupby("problem")["test_loss"].transform("min") if "test_loss" in finals else None
    taus = main_targets(study)
    rows = []
    for label in [*ranking.order, *ranking.apart]:
        mine = (finals["label"] == label).to_numpy()
        score = between(ranking.iqm[label]) if label in ranking.iqm else "not ranked"
        row = {"optimizer": label, "score on validation (IQM)": score}
        row |= target_cells(study, second.costs, label, taus)
        left = finals.loc[mine, "left"].dropna()
        row["median share left"] = percent(float(left.median())) if len(left) else DASH
        if lowest is not None:
            best = int((finals["test_loss"] == lowest)[mine].sum())
            row["lowest test loss on"] = f"{best}/{int(finals.loc[mine, 'test_loss'].notna().sum())}"
        for metric in ("test_accuracy", "test_auc"):
            if metric in finals and finals.loc[mine, metric].notna().any():
                row[f"median {metric.replace('_', ' ')}"] = number(float(finals.loc[mine, metric].median()))
        rows.append(row)
    table = pd.DataFrame(rows).fillna(DASH)
    table.attrs["high_first"] = [name for name in table if name not in ("optimizer", "median share left")]
    return table


SECTION = Section("generalisation", "What generalises", content)
