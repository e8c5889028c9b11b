"""How far from the optimum, in sentences that claim no more than is proved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from optbench.core.trial import LOWEST_SEEN
from optbench.report.analysis.certificates import STATED_DIGITS, all_weights, below_bound, distance, rounding
from optbench.report.analysis.splits import OF_EACH, split_of
from optbench.report.analysis.study import Study
from optbench.report.format import DASH, listed, number, records_of


def reference(study: Study, problem: str) -> str:
    """What the gap of this problem is measured from."""
    value, source = study.best(problem)
    if source == OF_EACH:
        return f"Each split of the data has a lowest loss of its own ({listed(sorted(study.measured_from(problem)))})."
    if math.isnan(value):
        return "No optimum, bound or best known loss is stated, so no gap is given."
    if source == "optimum":
        return f"The lowest possible training loss is {number(value)} (known optimum); the gap is the regret."
    if source == "bound":
        return (
            f"No training loss is below {number(value)}, a bound that perhaps nothing reaches: "
            "the gap to it is at least the regret, not the regret."
        )
    if source == LOWEST_SEEN:
        return (
            f"Nobody states the best training loss, so {number(value)}, the {LOWEST_SEEN}, stands in for it. "
            "Gaps and targets are measured from there; another entrant that goes lower moves them."
        )
    return f"The lowest training loss known is {number(value)} ({source}); the optimum may be lower."


def sentences(study: Study, problem: str, table: pd.DataFrame) -> list[str]:
    """What each certificate on this problem says; `regrets` has how far everybody ended from it."""
    out = []
    for row in records_of(table[table["problem"] == problem]):
        where = row["scope"] or "a scope it does not name"
        where += f" on split {row['split']} of the data" if len(study.splits[problem]) > 1 else ""
        verb = "proves" if row["proved"] else "claims"
        if row["exact"]:
            text = f"{row['label']} {verb} {number(row['upper'])} to be the lowest loss over {where}."
        else:
            span = f"[{number(row['lower'])}, {number(row['upper'])}]"
            text = f"{row['label']} {verb} that over {where} the lowest loss is in {span}."
        everywhere = all_weights(row["scope"])
        column = "lowest" if everywhere else "final"
        below = below_bound(study, problem, row["lower"], rounding(study, problem), column, row["split"])
        if below and everywhere:
            bound = "proved" if row["proved"] else "claimed"
            text += f" CONTRADICTION: {listed(below)} went below the {bound} bound; one of the two is wrong."
        elif below:
            text += (
                f" {listed(below)} ended below it, which is no contradiction: it speaks only of {where}, "
                "and weights outside of it may do better."
            )
        if row["contradicted"] and not (below and everywhere):
            text += " CONTRADICTION: another certificate on this problem and this scope has other bounds."
        if not row["proved"]:
            text += " optbench does not check this claim: a forward pass confirms no lower bound."
        out.append(text)
    value, source = study.best(problem)
    below = [] if math.isnan(value) else below_bound(study, problem, value, STATED_DIGITS)
    if below and source == "best known":
        out.append(f"{listed(below)} ended below the best known loss: the problem's statement of it can be lowered.")
    elif below:
        text = f"CONTRADICTION: {listed(below)} ended below the stated {source} {number(value)}"
        out.append(f"{text}; check the problem.")
    return out


def _regrets(study: Study, problem: str, certificate: dict[str, Any]) -> dict[str, str]:
    """Every other optimizer's distance to what is proved, or the range it is in; negative outside of the scope."""
    out = {}
    for label in study.labels:
        cell = study.cells.get((problem, label))
        if cell is None or label == certificate["label"]:
            continue
        cell = cell[split_of(study.trials)[cell] == certificate["split"]]
        if not len(cell):
            continue
        final = float(np.median(study.trials["final"].to_numpy(dtype=float)[cell]))
        low, high = (distance(study, problem, final, certificate[end]) for end in ("upper", "lower"))
        if all_weights(certificate["scope"]):
            low = min(max(0.0, low), high)  # whatever is in the scope is not below the optimum
        ends = [high] if certificate["exact"] or math.isinf(final) else [low, high]
        out[label] = " to ".join(number(end, "no result") for end in ends)
    return out


def regrets(study: Study, problem: str, table: pd.DataFrame) -> pd.DataFrame:
    """A row an optimizer, a column a certificate: the distance at the end, median over seeds; negative outside of its
    scope.
    """
    columns: dict[str, dict[str, str]] = {}
    for row in records_of(table[table["problem"] == problem]):
        name = f"regret to {row['label']}, over {row['scope'] or 'its scope'}"
        columns[name if name not in columns else f"{name}, split {row['split']}"] = _regrets(study, problem, row)
    found = [label for label in study.labels if any(label in one for one in columns.values())]
    return pd.DataFrame(
        [{"optimizer": label, **{name: one.get(label, DASH) for name, one in columns.items()}} for label in found]
    )


def proofs(table: pd.DataFrame, maximum: int = 4) -> list[str]:
    """One sentence for the verdict on each proof or claim of an optimum that nothing contradicts, proofs first."""
    if not len(table):
        return []
    exact = records_of(table[table["exact"].astype(bool) & ~table["contradicted"].astype(bool)])
    out = []
    for row in sorted(exact, key=lambda row: not row["proved"]):
        where, loss = row["scope"] or "its scope", number(row["upper"])
        if row["proved"]:
            out.append(f"{row['label']} proves the optimum of {row['problem']} over {where}: {loss}.")
        else:
            claim = f"claimed by {row['label']} and not checked by optbench"
            out.append(f"Optimum of {row['problem']} over {where}: {loss}, {claim}.")
    return [*dict.fromkeys(out)][:maximum]
