"""How far from the optimum, in sentences that claim no more than is proved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study
from optbench.report.format import listed, number, records_of

STATED = 1e-5  # what the digits of a stated optimum are good for, relative to max(1, loss)


def whole_space(scope: str) -> bool:
    """Whether a certificate speaks of all weights. Whatever does not say so speaks of a part, as a weight grid does."""
    return scope.lower().strip().startswith(("continuous weights", "all ", "every ", "any "))


def reference(study: Study, problem: str) -> str:
    """What the gap of this problem is measured from."""
    value, source = study.best(problem)
    if math.isnan(value):
        return "No optimum, bound or best known loss is stated, so no gap is given."
    if source == "optimum":
        return f"The lowest possible training loss is {number(value)} (known optimum); the gap is the regret."
    if source == "bound":
        return (
            f"No training loss is below {number(value)}, a bound that perhaps nothing reaches: "
            "the gap to it is at least the regret, not the regret."
        )
    return f"The lowest training loss known is {number(value)} ({source}); the optimum may be lower."


def certificates(study: Study) -> pd.DataFrame:
    """The distinct certificates, a row each: problem, label, lower, upper, scope, exact, seeds."""
    found: dict[tuple[Any, ...], int] = {}
    for trial in records_of(study.trials[["problem", "label", "certificate"]]):
        given = trial["certificate"]
        if not isinstance(given, dict):
            continue
        key: tuple[Any, ...] = (trial["problem"], trial["label"], _value(given, "lower"), _value(given, "upper"))
        key += (str(given.get("scope", "")), bool(given.get("exact")))
        found[key] = found.get(key, 0) + 1
    columns = ["problem", "label", "lower", "upper", "scope", "exact"]
    return pd.DataFrame([(*key, count) for key, count in found.items()], columns=[*columns, "trials"])


def _value(certificate: dict[str, Any], name: str) -> float:
    value = certificate.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def sentences(study: Study, problem: str, table: pd.DataFrame) -> list[str]:
    """What each certificate on this problem means for everybody who trained it."""
    out = []
    for row in records_of(table[table["problem"] == problem]):
        where = row["scope"] or "a scope it does not name"
        if row["exact"]:
            text = f"{row['label']} proves {number(row['upper'])} to be the lowest loss over {where}."
        else:
            span = f"[{number(row['lower'])}, {number(row['upper'])}]"
            text = f"{row['label']} proves that over {where} the lowest loss is in {span}."
        whole = whole_space(row["scope"])
        below = _below(study, problem, row["lower"], _rounding(study, problem), "lowest" if whole else "final")
        text += _regrets(study, problem, row)
        if below and whole:
            text += f" CONTRADICTION: {listed(below)} went below the proved bound; one of the two is wrong."
        elif below:
            text += (
                f" {listed(below)} ended below it, which is no contradiction: the proof covers only {where}, "
                "and weights outside of it may do better."
            )
        out.append(text)
    value, source = study.best(problem)
    below = [] if math.isnan(value) else _below(study, problem, value, STATED)
    if below and source == "best known":
        out.append(f"{listed(below)} ended below the best known loss: the problem's statement of it can be lowered.")
    elif below:
        text = f"CONTRADICTION: {listed(below)} ended below the stated {source} {number(value)}"
        out.append(f"{text}; check the problem.")
    return out


def _regrets(study: Study, problem: str, certificate: dict[str, Any]) -> str:
    """Every other optimizer's distance to what is proved, or the range it is in; negative outside of the scope."""
    out = []
    for label in study.labels:
        cell = study.cells.get((problem, label))
        if cell is None or label == certificate["label"]:
            continue
        final = float(np.median(study.trials["final"].to_numpy(dtype=float)[cell]))
        least, most = (_distance(study, problem, final, certificate[end]) for end in ("upper", "lower"))
        if whole_space(certificate["scope"]):
            least = min(max(0.0, least), most)  # whatever is in the scope is not below the optimum
        ends = [most] if certificate["exact"] or math.isinf(final) else [least, most]
        out.append(f"{label} {' to '.join(number(end, 'lost') for end in ends)}")
    return f" Regret to it at the end, median over seeds: {listed(out, most=40)}." if out else ""


def _distance(study: Study, problem: str, final: float, proved: float) -> float:
    rounded = abs(final - proved) <= _rounding(study, problem) * max(1.0, abs(proved))
    return 0.0 if rounded else final - proved


def _rounding(study: Study, problem: str) -> float:
    """What a certificate may differ from the network's forward pass by, relative to max(1, loss): see `certify`."""
    return 1e-12 if study.facts.get(problem, {}).get("dtype") == "float64" else 1e-6


def _below(study: Study, problem: str, lower: float, rounding: float, column: str = "final") -> list[str]:
    """Labels with a trial whose `final` or `lowest` loss is below `lower` by more than rounding."""
    slack = rounding * max(1.0, abs(lower)) if math.isfinite(lower) else math.nan
    trials = study.trials
    lowest = trials.loc[(trials["problem"] == problem) & (trials[column] < lower - slack), "label"]
    return [label for label in study.labels if label in set(lowest)]


def proofs(table: pd.DataFrame, most: int = 4) -> list[str]:
    """One sentence for the verdict on what was proved."""
    exact = records_of(table[table["exact"].astype(bool)]) if len(table) else []
    out = [
        f"{row['label']} proves the optimum of {row['problem']} over {row['scope'] or 'its scope'}: "
        f"{number(row['upper'])}."
        for row in exact
    ]
    return [*dict.fromkeys(out)][:most]
