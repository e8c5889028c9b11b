"""What certificates claim, which of them are proofs, and how far every optimizer ended from them."""

from __future__ import annotations

import math
from textwrap import shorten
from typing import Any

import pandas as pd

from optbench.report.analysis.splits import split_of
from optbench.report.analysis.study import Study

STATED_DIGITS = 1e-5  # what the digits of a stated optimum are good for, relative to max(1, loss)

PACKED_DIGITS = 1e-7  # what packed records keep of a loss, so that rounding contradicts nobody
MAX_SCOPE = 80  # characters of a scope, whoever wrote the record: it stands in a sentence
PROVED_BY = frozenset({"dp_grid", "dp_step"})  # methods whose proofs optbench's own tests check; others only claim


def all_weights(scope: str) -> bool:
    """Whether a certificate speaks of all weights. Any other scope is a part, as a weight grid."""
    return scope.lower().strip().startswith(("continuous weights", "all ", "every ", "any "))


def certificates(study: Study) -> pd.DataFrame:
    """The distinct certificates, a row each: problem, label, lower, upper, scope, exact, split, trials, proved,
    contradicted.

    proved: the method is one of `PROVED_BY`; a forward pass confirms an upper bound, but no lower bound. contradicted:
    another record goes below the lower bound, or a proof over the same scope has bounds that leave no common value.
    """
    found: dict[tuple[Any, ...], int] = {}
    proved = set()
    trials = study.trials[["problem", "label", "optimizer", "certificate"]].assign(split=split_of(study.trials))
    for trial in trials.to_dict("records"):
        given = trial["certificate"]
        if not isinstance(given, dict):
            continue
        if trial["optimizer"] in PROVED_BY:
            proved.add(trial["label"])
        key: tuple[Any, ...] = (trial["problem"], trial["label"], _value(given, "lower"), _value(given, "upper"))
        key += (shorten(str(given.get("scope", "")), MAX_SCOPE, placeholder="..."), bool(given.get("exact")))
        key += (trial["split"],)
        found[key] = found.get(key, 0) + 1
    columns = ["problem", "label", "lower", "upper", "scope", "exact", "split"]
    table = pd.DataFrame([(*key, count) for key, count in found.items()], columns=[*columns, "trials"])
    table["proved"] = [label in proved for label in table["label"]]
    rows = table.to_dict("records")
    table["contradicted"] = [_contradicted(study, row, rows) for row in rows]
    return table


def _contradicted(study: Study, row: dict[Any, Any], rows: list[dict[Any, Any]]) -> bool:
    """Whether a loss, or a certificate that counts more or as much, shows that the certificate is wrong."""
    problem = row["problem"]
    slack = max(rounding(study, problem), PACKED_DIGITS)
    if all_weights(row["scope"]) and below_bound(study, problem, row["lower"], slack, "lowest", row["split"]):
        return True
    slack *= max(1.0, abs(row["lower"]))
    for other in rows:
        if not _same_data(other, row) or not _covers(row["scope"], other["scope"]):
            continue
        if other["upper"] < row["lower"] - slack:  # a network in the scope, whoever found it
            return True
    return any(
        other["proved"] and not row["proved"] and other["lower"] > row["upper"] + slack
        for other in rows
        if _same_data(other, row) and _covers(other["scope"], row["scope"])
    )


def _same_data(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    return bool(one["problem"] == other["problem"] and one["split"] == other["split"])


def _covers(scope: str, part: str) -> bool:
    """Whether every network of `part` is in `scope`, as far as their names tell."""
    return all_weights(scope) or scope.strip().lower() == part.strip().lower()


def _value(certificate: dict[str, Any], name: str) -> float:
    value = certificate.get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def distance(study: Study, problem: str, final: float, proved: float) -> float:
    equal = abs(final - proved) <= rounding(study, problem) * max(1.0, abs(proved))
    return 0.0 if equal else final - proved


def rounding(study: Study, problem: str) -> float:
    """What a certificate may differ from the network's forward pass by, relative to max(1, loss): see `certify`."""
    return 1e-12 if study.facts.get(problem, {}).get("dtype") == "float64" else 1e-6


def below_bound(
    study: Study, problem: str, lower: float, rounding: float, column: str = "final", split: int = 0
) -> list[str]:
    """Labels with a trial on a split whose `final` or `lowest` loss is below `lower` by more than rounding."""
    slack = rounding * max(1.0, abs(lower)) if math.isfinite(lower) else math.nan
    trials = study.trials
    same = (trials["problem"] == problem) & (split_of(trials) == split)
    lowest = trials.loc[same & (trials[column] < lower - slack), "label"]
    return [label for label in study.labels if label in set(lowest)]
