"""What the evidence can carry: which claims rest on one part, what could have been found, how much seeds differ."""

from __future__ import annotations

import math

import pandas as pd

from optbench.report.analysis import power
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.ranking import ROPE, Ranking
from optbench.report.format import number, percent, records_of
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences import evidence

CLAIMS = {"better": "better", "worse": "worse", "open": "not told apart", "same": "practically the same"}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where fewer than two optimizers are ranked, and for one problem, where seeds are the unit."""
    asked = [findings, *([findings.generalising] if findings.generalising else [])]
    asked = [one for one in asked if len(one.ranking.labels) > 1]
    if findings.one_problem or not asked:
        return None
    tables = {
        name: pd.concat(
            [getattr(one, name).assign(question=one.study.question.name) for one in asked], ignore_index=True
        )
        for name in ("left_out", "power", "seed_noise")
    }
    said = [text for one in asked for text in evidence.sentences(one.ranking, one.left_out, one.power, one.seed_noise)]
    values = {"said": said, "about": _about(findings.ranking)}
    shown = {"left_out": _left_out(tables["left_out"]), "power": _power(tables["power"])}
    return Content(values, tables, shown | {"seed_noise": _seed_noise(tables["seed_noise"])})


def _question(findings: Findings) -> str:
    return findings.study.question.name


def _about(ranking: Ranking) -> str:
    pairs = max(len(ranking.adjusted) // 2, 1)
    return (
        "A detectable difference is the true difference of mean scores that would have been claimed with a probability "
        f"of at least {percent(power.POWER)}, given how much the pair's difference varies over problems: at Holm's "
        f"first step over {pairs} pairs, and beyond the {ROPE:g} that count as practically equal."
    )


def _left_out(table: pd.DataFrame) -> pd.DataFrame:
    """The parts that a claim rests on; the others are told by their number in the sentences."""
    rows = [
        {"question": f"{row['question']} loss", "left out": f"{row['kind']} {row['left_out']}"}
        | {"claims lost": f"{row['lost']} of {row['claims']}", "which": row["which"]}
        for row in records_of(table)
        if row["lost"]
    ]
    return pd.DataFrame(rows, columns=["question", "left out", "claims lost", "which"])


def _power(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "question": f"{row['question']} loss",
            "pair": f"{row['first']} and {row['second']}",
            "problems": row["problems"],
        }
        | {"difference seen": number(row["difference"]), "its spread over problems": number(row["spread"])}
        | {"detectable difference": number(row["detectable"], "none"), "claim": CLAIMS[row["claim"]]}
        | {"problems to claim what was seen": _needed(row["problems_needed"])}
        for row in records_of(table)
    ]
    return pd.DataFrame(rows)


def _needed(value: float) -> str:
    return f"within {ROPE:g}" if math.isinf(value) else f"about {int(value):,}"


def _seed_noise(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {"problem": row["problem"], "question": f"{row['question']} loss", "seeds": f"{row['seeds']:g}"}
        | {"deviation of seeds": number(row["seed_sd"]), "of optimizers": number(row["spread"])}
        | {"share of seeds in the variance": percent(row["share"]), "standard error of a mean": number(row["error"])}
        | {"seeds needed": f"{row['seeds_needed']}", "p of equal scatter": number(row["equal_p"])}
        | {"noisiest": row["noisiest"]}
        for row in records_of(table)
    ]
    return pd.DataFrame(rows)


SECTION = Section("evidence", "What the evidence can carry", content)
