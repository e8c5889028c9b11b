"""What a comparison of folders says: how many cells changed, what could not be tested, and each regression."""

from __future__ import annotations

from typing import Any

from optbench.report.analysis.comparison import Comparison
from optbench.report.format import listed, number, plural, records_of


def sentences(compared: Comparison) -> list[str]:
    """First what changed, then what else differs, then each regression."""
    counts, untested = [], []
    for name in compared.others:
        table = compared.table[compared.table["folder"] == name] if len(compared.table) else compared.table
        counts.append(_counts(compared, name, table))
        if len(table) and not table["tested"].any():
            untested.append(f"No cell of {name} has two seeds on both sides, so nothing could be tested.")
    differ = [f"The folders differ in {what}, so seconds and rates must not be compared." for what in compared.differ]
    return [*counts, *differ, *untested, *regressions(compared)]


def regressions(compared: Comparison) -> list[str]:
    """One sentence a cell that got worse."""
    return [regression(row, compared.base) for row in records_of(compared.worse())]


def _counts(compared: Comparison, name: str, table: Any) -> str:
    base = compared.base
    worse, better = (int((table["change"] == word).sum()) for word in ("worse", "better"))
    text = f"{name} against {base}: of {plural(len(table), 'common cell')}, {worse} got worse"
    text += f" and {better} better beyond chance and beyond practical equivalence"
    sides = ((base, name), (name, base))
    alone = listed([f"{compared.only[side]} only in {side[0]}" for side in sides if side in compared.only])
    return text + (f"; {alone}." if alone else ".")


def regression(row: dict[str, Any], base: str) -> str:
    """What got worse in one cell, a row of the comparison's table."""
    text = f"Regression: {row['optimizer']} on {row['problem']} got worse from {base} to {row['folder']}: score "
    text += f"{number(row['score_before'])} to {number(row['score_after'])} (p = {number(row['score_p_worse'])}), "
    text += f"decades gone {number(row['decades_before'])} to {number(row['decades_after'])} "
    text += f"(p = {number(row['decades_p_worse'])})"
    before, after = row["no_result_before"], row["no_result_after"]
    return text + (f", trials without a result {before} to {after}." if before != after else ".")
