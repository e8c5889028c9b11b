"""Two or more folders, cell by cell."""

from __future__ import annotations

import pandas as pd

from optbench.report.analysis.comparison import ALPHA, MIN_DECADES
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import ROPE
from optbench.report.format import number, records_of
from optbench.report.sections.base import Content, Drawing, Section

ABOUT = (
    "Each common cell is compared by its seeds, before and after. Welch's test is applied to the anytime score "
    "and to the decades of loss gone at the budget. Its one-sided p is corrected (Holm) over all cells and both "
    f"measures. A change counts when p < {ALPHA:g} and it exceeds {ROPE:g} of score or {MIN_DECADES:g} decades. A "
    "trial without a result scores 0 and ends one decade above its start."
)


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """The table of common cells; None for one folder."""
    if findings.comparison is None:
        return None
    table = findings.comparison.table
    return Content({"about": ABOUT}, {"comparison": table}, {"comparison": _text(table)})


def _text(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison as a reader sees it: a row a common cell."""
    out = []
    for row in records_of(table):
        out.append(
            {
                "optimizer": row["optimizer"],
                "problem": row["problem"],
                "folder": row["folder"],
                "change": row["change"] if row["tested"] else "not tested: one seed",
                "score": f"{number(row['score_before'])} → {number(row['score_after'])}",
                "p worse": number(row["score_p_worse"]),
                "decades gone": f"{number(row['decades_before'])} → {number(row['decades_after'])}",
                "p worse (decades)": number(row["decades_p_worse"]),
                "no result": f"{row['no_result_before']} → {row['no_result_after']}",
            }
        )
    return pd.DataFrame(out)


SECTION = Section("comparison", "Comparison", content)
