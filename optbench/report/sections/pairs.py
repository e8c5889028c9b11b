"""Every pair of optimizers: what the evidence says of the first against the second."""

from __future__ import annotations

import math

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import ALPHA, MIN_POSTERIOR, MIN_PROBLEMS, ROPE
from optbench.report.analysis.statistics import Interval
from optbench.report.figures import anytime
from optbench.report.format import between, number, records_of
from optbench.report.sections.base import Content, Drawing, Section

ABOUT = (
    "Problems are the paired unit. Each pair is compared by its mean anytime score on every problem that both "
    "were planned on, so a claim about two optimizers never depends on a third. “Better” needs a probability of "
    f"{MIN_POSTERIOR:g} of a practical difference (Bayesian signed-rank test, equivalence within {ROPE:g} of "
    f"score) and p < {ALPHA:g} in Wilcoxon's test of that pair, which takes {MIN_PROBLEMS} problems. A winner is "
    "better than every other. Holm's p corrects for all pairs of this table, and so does depend on who entered."
)
RANKS = (
    "Mean ranks over problems; a bar joins optimizers that Friedman and Wilcoxon-Holm tests do not tell apart at the "
    "5 % level."
)
CLAIMS = {"open": "not told apart", "same": "practically the same"}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    table = findings.ranking.table()
    figures = {"ranks": anytime.ranks(findings.ranking, drawing.styles)}
    return Content({"about": ABOUT}, {"pairs": table}, {"pairs": _text(table)}, figures, {"ranks": RANKS})


def _text(table: pd.DataFrame) -> pd.DataFrame:
    out = []
    for row in records_of(table):
        chance = Interval(row["p_improvement"], row["p_improvement_low"], row["p_improvement_high"], 0.0)
        if math.isfinite(chance.low):
            chance = chance._replace(level=0.95)
        out.append(
            {
                "first": row["first"],
                "second": row["second"],
                "the first is": CLAIMS.get(row["claim"], row["claim"]),
                "problems won, lost, of": f"{row['wins']}, {row['losses']}, {row['problems']}",
                "P(better)": number(row["p_better"]),
                "P(same)": number(row["p_same"]),
                "P(worse)": number(row["p_worse"]),
                "Wilcoxon p": number(row["signed_rank_p"]),
                "Holm p": number(row["holm_p"]),
                "P(first ends lower)": between(chance),
            }
        )
    return pd.DataFrame(out)


SECTION = Section("pairs", "Pair by pair", content)
