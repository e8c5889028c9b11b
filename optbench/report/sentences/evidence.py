"""What the claims rest on, what could have been found, and how much seeds differ; nothing here claims anew."""

from __future__ import annotations

import math

import pandas as pd

from optbench.report.analysis.power import POWER
from optbench.report.analysis.ranking import ROPE, Ranking, min_problems
from optbench.report.format import listed, number, percent, plural, records_of

MAX_NAMED = 4  # parts, pairs or problems that a sentence names


def sentences(ranking: Ranking, left_out: pd.DataFrame, power: pd.DataFrame, noise: pd.DataFrame) -> list[str]:
    """On one question, in the order of the tables."""
    where = f"On {ranking.study.question.name} loss"
    return [*_left_out(where, ranking, left_out), *_power(where, power), *_noise(where, noise)]


def _left_out(where: str, ranking: Ranking, table: pd.DataFrame) -> list[str]:
    if not len(table) or not table["claims"].iloc[0]:
        return [f"{where} no difference is claimed, so none can rest on a single part."]
    pairs = len(ranking.labels) * (len(ranking.labels) - 1) // 2
    fewest = min_problems(ranking.study.alpha / max(pairs, 1))
    few = table[(table["problems"] < fewest) & table["kind"].isin(["group", "track"])]
    short = [f"{kind} {name}" for kind, name in zip(few["kind"], few["left_out"], strict=True)]
    said = (
        [f"{where} too few problems are left without {listed(short, 'or', MAX_NAMED)} to carry any claim."]
        if short
        else []
    )
    table = table.drop(few.index)
    if not len(table):
        return said
    kinds = table.groupby("kind", sort=False).size()
    parts = listed([plural(int(count), str(kind)) for kind, count in kinds.items()], "or")
    total = int(table["claims"].iloc[0])
    lost = sorted({pair for text in table["which"] for pair in text.split("; ") if pair})
    held = f"{where} {total - len(lost)} of {plural(total, 'claim')} hold whichever one of {parts} is left out."
    out = [*said, held]
    worst = table[table["lost"] > 0].sort_values("lost", ascending=False, kind="stable").head(MAX_NAMED)
    if len(worst):
        named = [f"{row.kind} {row.left_out} ({row.lost})" for row in worst.itertuples()]
        out.append(f"Most claims are lost without {listed(named)}.")
    if bool(table["winner_lost"].any()):
        rows = table[table["winner_lost"]]
        named = [f"{kind} {name}" for kind, name in zip(rows["kind"], rows["left_out"], strict=True)]
        out.append(f"{ranking.winner} does not win without {listed(named, 'or', 2 * MAX_NAMED)}.")
    elif ranking.winner:
        out.append(f"{ranking.winner} wins without any of them.")
    return out


def _power(where: str, table: pd.DataFrame) -> list[str]:
    if not len(table):
        return []
    first = table["first"].iloc[0]
    known = table.loc[[math.isfinite(value) for value in table["detectable"]], "detectable"]
    if not len(known):
        return [f"{where} there are too few problems for any difference to be claimed, however large it is."]
    text = (
        f"{where} a true difference of {number(float(known.min()))} to {number(float(known.max()))} of score from "
        f"{first} would have been claimed with a probability of at least {percent(POWER)}; for the middle pair it is "
        f"{number(float(known.median()))}."
    )
    out = [text]
    open_ = table[(table["claim"] == "open") & (table["difference"].abs() > ROPE)].head(1)
    for row in records_of(open_):
        seen, needed = number(abs(row["difference"])), int(row["problems_needed"])
        out.append(
            f"To claim the {seen} that was seen between {first} and {row['second']} takes about {needed:,} problems."
        )
    return out


def _noise(where: str, table: pd.DataFrame) -> list[str]:
    if not len(table):
        return []
    noisy = table[table["error"] > ROPE].sort_values("error", ascending=False, kind="stable")
    if not len(noisy):
        worst = table.sort_values("error", ascending=False, kind="stable").iloc[0]
        return [
            f"{where} a mean over seeds has a standard error of at most {number(float(worst['error']))}, on "
            f"{worst['problem']}; {ROPE:g} counts as practically equal."
        ]
    named = [
        f"{row['problem']} ({number(row['error'])}, {row['seeds_needed']} seeds needed)" for row in records_of(noisy)
    ]
    return [
        f"{where} seeds are too few on {plural(len(noisy), 'problem')} of {len(table)} for a mean within the {ROPE:g} "
        f"that count as practically equal: {listed(named, 'and', MAX_NAMED)}."
    ]
