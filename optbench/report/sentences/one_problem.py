"""The answer on one problem, from its seeds; then what it does not say about other problems."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.report.analysis.question import Question
from optbench.report.analysis.ranking import min_problems
from optbench.report.analysis.seeds import OneProblem
from optbench.report.format import listed, number, plural, records_of, target_name

MAX_NAMED = 6  # optimizers whose passes the sentences give


def one_problem(found: OneProblem, question: Question) -> list[str]:
    """Who reaches the target at what cost in how many seeds, what the test over seeds says, and the caveat."""
    rows = records_of(found.cells)
    text = f"On {found.problem}, {rows[0]['label']} reaches the {target_name(found.tau, question.targets)} "
    text += _cost(rows[0], True)
    others = [f"{row['label']} {_cost(row, False)}" for row in rows[1:MAX_NAMED]]
    if len(rows) > MAX_NAMED:
        others.append(f"{len(rows) - MAX_NAMED} others no sooner")
    out = [f"{text}, {listed(others)}." if others else f"{text}."]
    out += _tested(found, rows)
    fewest = min_problems(found.alpha)
    return [
        *out,
        f"This holds for {found.problem}; a claim about other problems takes at least {fewest} of them.",
    ]


def _cost(row: dict[str, Any], first: bool) -> str:
    """At how many passes, in how many seeds."""
    of = f"in {row['hits']} of {row['seeds']}" + (f" seed{'s' if row['seeds'] != 1 else ''}" if first else "")
    if not np.isfinite(row["passes"]):
        return of
    if row["passes"] == 0:
        return f"before its first step {of}"
    return f"at {number(row['passes'])} passes {of}"


def _tested(found: OneProblem, rows: list[dict[str, Any]]) -> list[str]:
    if len(rows) < 2:
        return ["One optimizer took part, so nothing was compared."]
    if min(row["seeds"] for row in rows) < 2:
        return ["One seed cannot show a difference beyond chance: run several seeds."]
    leader = rows[0]["label"]
    against = found.against(leader)
    sooner = [label for label, p in against.items() if p < found.alpha]
    open_ = [label for label in against if label not in sooner]
    how = f"rank-sum test over seeds, Holm-corrected for {plural(len(found.pairs), 'pair')}"
    out = []
    if sooner:
        p = max(against[label] for label in sooner)
        out.append(f"{leader} needs fewer passes than {listed(sooner)} ({how}, p ≤ {number(p)}).")
    if open_:
        p = min(against[label] for label in open_)
        out.append(f"{leader} is not told apart from {listed(open_)} ({how}, p ≥ {number(p)}).")
    return out
