"""The first thing on the page: who won, how sure that is, who reached what at which cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from optbench.report.analysis.best_map import Best, Row, best_map
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.study import Study
from optbench.report.format import listed, number, plain
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences.glance import glance
from optbench.report.sentences.verdict import answers


def content(findings: Findings, drawing: Drawing) -> Content:
    """The answer at a glance, every sentence by question, and the notes on what could not be read."""
    limits, rows = best_map(findings.ranking)
    found = [answer._asdict() for answer in answers(findings)]
    values = {
        "glance": glance(findings)._asdict(),
        "map": map_values(limits, rows, findings, drawing),
        "answers": found,
        "notes": findings.study.notes,
    }
    return Content(values, {"best_for_what": map_table(rows)})


def map_values(limits: Sequence[float], rows: Sequence[Row], findings: Findings, drawing: Drawing) -> dict[str, Any]:
    """The map as the template takes it: a row a kind of problem, a field a budget; none where nobody is ranked."""
    study, unit = findings.study, findings.study.unit
    heads = ["whole budget" if math.isinf(limit) else f"up to {limit:,.0f} {unit}" for limit in limits]
    ends = ["" if math.isinf(limit) else f"{limit:g}" for limit in limits]
    return {"heads": heads, "limits": ends, "rows": [_row(row, study, drawing) for row in rows]}


def _row(row: Row, study: Study, drawing: Drawing) -> dict[str, Any]:
    fields: list[dict[str, Any] | None] = []
    for found in row.fields:
        if found is None or not found.leaders:
            fields.append(None if found is None else {"name": "nobody yet", "label": "", "more": 0, "rest": ""})
            continue
        first, *rest = found.leaders
        fields.append(
            {"name": plain(first, study.labels), "label": first, "colour": drawing.styles[first].colour}
            | {"more": len(rest), "rest": listed([plain(label, study.labels) for label in rest])}
            | {"score": number(found.score), "everybody": not found.others and bool(rest)}
        )
    return {"name": row.name, "problems": len(row.problems), "which": listed(list(row.problems)), "fields": fields}


def map_table(rows: Sequence[Row]) -> pd.DataFrame:
    """The map in full: a row a kind of problem and budget; `limit` is infinite for the whole budget."""
    columns = ["kind", "problems", "limit", "best", "score", "not_told_apart"]
    return pd.DataFrame(
        [
            (row.name, len(row.problems), found.limit, (found.leaders or [""])[0], found.score, _rest(found))
            for row in rows
            for found in row.fields
            if found is not None
        ],
        columns=columns,
    )


def _rest(found: Best) -> str:
    return "; ".join(found.leaders[1:])


SECTION = Section("verdict", "The answer", content)
