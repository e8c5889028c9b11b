"""Every pair of optimizers: what the evidence says of the first against the second."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pandas as pd

from optbench.report import charts as charts_of
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import MIN_POSTERIOR, ROPE, Ranking, min_problems
from optbench.report.analysis.statistics import Interval
from optbench.report.figures import anytime
from optbench.report.format import between, number, records_of, target_name
from optbench.report.sections.base import Content, Drawing, Section

ABOUT = (
    "Problems are the paired unit. Each pair is compared by its mean anytime score on the problems that both "
    "apply to. “Better” needs three things: a "
    f"probability of {MIN_POSTERIOR:g} of a practical difference (Bayesian signed-rank test, equivalence within "
    f"{ROPE:g} of score), p < {{0:g}} in Wilcoxon's test of that pair, which takes {{1}} problems, and "
    f"p < {{0:g}} after Holm's correction for all pairs of ranked optimizers. The first two never depend on a third "
    "optimizer; Holm's p depends on how many entered. A winner needs the first two against every other ranked one."
)
SEEDS = (
    "With one problem, {0}, seeds are the unit. Each pair is compared by the passes that its seeds need to the "
    "{1}; a miss is infinite (rank-sum test). Holm's p corrects for all pairs. Nothing follows for other "
    "problems."
)
RANKS = (
    "Mean ranks over problems; a bar joins optimizers that Friedman and Wilcoxon-Holm tests do not tell apart at the "
    "level of the report."
)
CLAIMS = {"open": "not told apart", "same": "practically the same"}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    table, alpha = findings.ranking.table(), findings.study.alpha
    figures = {"ranks": partial(anytime.ranks, findings.ranking, drawing.styles)}
    if found := findings.one_problem:
        about = SEEDS.format(found.problem, target_name(found.tau))
        shown = {"pairs": _seeds(found.pairs, alpha)}
        return Content({"about": about}, {"pairs": table, "seeds": found.pairs}, shown, figures=figures)
    charts = {"ranks": _ranks(findings.ranking)}
    about = ABOUT.format(alpha, min_problems(alpha))
    return Content({"about": about}, {"pairs": table}, {"pairs": _text(table)}, charts, {}, figures, {"ranks": RANKS})


def _ranks(ranking: Ranking) -> dict[str, Any] | None:
    """Mean ranks of three optimizers or more over two problems or more that all apply to."""
    if len(ranking.complete) < 2 or len(ranking.labels) < 3:
        return None
    order = sorted(ranking.labels, key=lambda label: ranking.ranks[label])
    return charts_of.ranks(order, ranking.ranks, anytime.bars(order, ranking))


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
    text = pd.DataFrame(out)
    text.attrs["high_first"] = ["P(better)", "P(same)", "P(first ends lower)"]
    return text


def _seeds(table: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Every pair on one problem, the sooner first."""
    return pd.DataFrame(
        [
            {"first": row["first"], "second": row["second"]}
            | {
                "the first": "needs fewer passes"
                if row["holm_p"] < alpha and row["sooner"] > 0.5
                else "is not told apart"
            }
            | {"P(first sooner)": number(row["sooner"])}
            | {"rank-sum p": number(row["p"]), "Holm p": number(row["holm_p"])}
            for row in records_of(table)
        ]
    )


SECTION = Section("pairs", "Pair by pair", content)
