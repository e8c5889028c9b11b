"""How the order changes: another mean, another budget, a problem or a group left out."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from optbench.report.analysis import robustness
from optbench.report.analysis.final_points import BEST
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import Ranking
from optbench.report.format import listed, percent, plural, records_of
from optbench.report.sections.base import Content, Drawing, Section


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where fewer than two optimizers are ranked."""
    asked = [findings, *([findings.generalising] if findings.generalising else [])]
    asked = [one for one in asked if len(one.ranking.labels) > 1]
    if findings.one_problem or not asked:
        return None
    orders = {one.study.question.name: robustness.orders(one.ranking, one.scored_otherwise.ranking) for one in asked}
    table = pd.concat([one.assign(question=name) for name, one in orders.items()], ignore_index=True)
    leaders = [text for one in asked for text in (_leader(one.ranking), _scored(one.ranking, orders))]
    return Content({"leaders": leaders}, {"orders": table}, {"orders": _text(table, findings.study.scored)})


def _leader(ranking: Ranking) -> str:
    """Whether some other leads without one of the problems or groups."""
    leader = ranking.order[0]
    turned = {
        unit: [label for label in ranking.order if places[label] == 1]
        for unit, places in robustness.without(ranking).items()
        if places[leader] > 1
    }
    where = f"On {ranking.study.question.name} loss"
    if not turned:
        return f"{where} {leader} has the highest score, whichever problem or group is left out."
    others = listed(list(dict.fromkeys(label for found in turned.values() for label in found)), "or")
    left_out = listed(list(turned), "or")
    return f"{where} {leader} has the highest score. Leaving out {left_out} puts {others} in its place."


def _scored(ranking: Ranking, orders: Mapping[str, pd.DataFrame]) -> str:
    """Whether the leader rests on which point of its curve stands for a trial."""
    study = ranking.study
    table = orders[study.question.name]
    first = listed(list(table.loc[table["scored_otherwise"] == 1, "label"]), "and")
    moved = int((table["scored_otherwise"] != table["iqm"]).sum())
    names = ("its best point by then", "the point it returned")
    now, other = names if study.scored == BEST else names[::-1]
    return (
        f"A trial is scored at {now}; scored at {other}, settings chosen by that too, {first} "
        f"leads on {study.question.name} loss and {plural(moved, 'optimizer')} of {len(table)} change place."
    )


def _text(table: pd.DataFrame, scored: str) -> pd.DataFrame:
    rows = []
    for row in records_of(table):
        low, high = row["without_best"], row["without_worst"]
        line = {"optimizer": row["label"], "question": f"{row['question']} loss"}
        line |= {"place by IQM": row["iqm"], "by mean": row["mean"]}
        line |= {f"at {percent(share)} of the budget": row[f"budget_{share:g}"] for share in robustness.BUDGETS}
        line["scored at " + ("the end" if scored == BEST else "the best point")] = row["scored_otherwise"]
        line["one problem or group left out"] = f"{low}" if low == high else f"{low} to {high}"
        rows.append(line)
    return pd.DataFrame(rows)


SECTION = Section("robustness", "How the order changes", content)
