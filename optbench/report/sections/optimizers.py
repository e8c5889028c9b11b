"""Each optimizer by itself: its place, whom it is better than, and what it did on every problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.statistics import Interval, coverage
from optbench.report.format import DASH, between, listed, number, percent, plain, plural, records_of, target_name
from optbench.report.sections.base import Content, Drawing, Section

CLAIMS = {"better": "better than", "same": "practically the same as", "worse": "worse than", "open": "not told from"}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """A list of all with their places, and a view of each; None where no trial was planned."""
    study, ranking = findings.study, findings.ranking
    if not len(study.trials):
        return None
    order = [*dict.fromkeys([*ranking.order, *ranking.apart, *study.labels])]
    tables = {label: _by_problem(findings, label) for label in order}
    views = {
        f"optimizer={label}": {
            "name": label,
            "family": study.families[label],
            "mark": study.marks.get(label, ""),
            "standing": _standing(findings, label),
            "pairs": _pairs(findings, label),
            "tables": {"by_problem": tables[label]},
            "charts": {},
        }
        for label in order
    }
    table = pd.DataFrame(
        [
            {"optimizer": label, "family": study.families[label], "standing": _standing(findings, label)}
            for label in order
        ]
    )
    return Content({}, {}, {"optimizers": table}, {}, views)


def _standing(findings: Findings, label: str) -> str:
    ranking = findings.ranking
    if label in ranking.iqm:
        place = ranking.order.index(label) + 1
        return f"Number {place} of {len(ranking.order)} with a score of {between(ranking.iqm[label])}."
    why = ranking.apart.get(label)
    return f"Not ranked: it {why}." if why else "Not ranked: no problem here states targets."


def _pairs(findings: Findings, label: str) -> list[str]:
    """Whom it is better than, and so on, by the corrected claims on pairs; none on one problem."""
    ranking = findings.ranking
    if findings.one_problem or label not in ranking.labels:
        return []
    found = {claim: ranking.group(label, claim) for claim in CLAIMS}
    return [
        f"It is {words} {listed([plain(other, ranking.study.labels) for other in found[claim]])}."
        for claim, words in CLAIMS.items()
        if found[claim]
    ]


def _by_problem(findings: Findings, label: str) -> pd.DataFrame:
    """A row a problem that was planned: cost of the headline target, what is left, the setting, and what failed."""
    study = findings.study
    costs = _keyed(findings.costs, label, findings.costs["tau"] == study.headline if len(findings.costs) else None)
    finals, reasons = _keyed(findings.finals, label), _keyed(findings.statuses, label)
    chosen = _keyed(findings.choices, label) if len(findings.choices) else {}
    rows = []
    for problem in study.problems:
        if problem not in finals:
            continue
        final, row = finals[problem], {"problem": problem}
        if study.taus:
            row[f"{study.unit} to the {target_name(study.headline)}"] = _cost(costs.get(problem))
        row["final loss"] = number(final["loss"], never="∞")
        row["share left"] = percent(final["left"])
        row["test loss"] = number(final.get("test_loss", float("nan")), never="∞")
        if chosen:
            row["setting (seeds)"] = chosen.get(problem, {}).get("chosen", DASH)
        row["no result"] = f"{final['no_result']} of {plural(final['trials'], 'trial')}"
        row["reasons"] = reasons.get(problem, {}).get("reasons", "")
        rows.append(row)
    return pd.DataFrame(rows)


def _keyed(table: pd.DataFrame, label: str, where: Any = None) -> dict[str, Mapping[str, Any]]:
    if not len(table):
        return {}
    mine = table["label"] == label
    return {row["problem"]: row for row in records_of(table[mine if where is None else mine & where])}


def _cost(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return DASH
    value = Interval(cell["passes"], cell["passes_low"], cell["passes_high"], coverage(cell["trials"]))
    return f"{between(value)} · {cell['hits']}/{cell['trials']}"


SECTION = Section("optimizers", "Optimizers", content)
