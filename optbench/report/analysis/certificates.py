"""What exact methods proved, and how far every optimizer ended from it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from optbench.report.analysis.study import Study

STATED_DIGITS = 1e-5  # what the digits of a stated optimum are good for, relative to max(1, loss)


def all_weights(scope: str) -> bool:
    """Whether a certificate speaks of all weights. Any other scope is a part, as a weight grid."""
    return scope.lower().strip().startswith(("continuous weights", "all ", "every ", "any "))


def certificates(study: Study) -> pd.DataFrame:
    """The distinct certificates, a row each: problem, label, lower, upper, scope, exact, seeds."""
    found: dict[tuple[Any, ...], int] = {}
    for trial in study.trials[["problem", "label", "certificate"]].to_dict("records"):
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


def distance(study: Study, problem: str, final: float, proved: float) -> float:
    equal = abs(final - proved) <= rounding(study, problem) * max(1.0, abs(proved))
    return 0.0 if equal else final - proved


def rounding(study: Study, problem: str) -> float:
    """What a certificate may differ from the network's forward pass by, relative to max(1, loss): see `certify`."""
    return 1e-12 if study.facts.get(problem, {}).get("dtype") == "float64" else 1e-6


def below_bound(study: Study, problem: str, lower: float, rounding: float, column: str = "final") -> list[str]:
    """Labels with a trial whose `final` or `lowest` loss is below `lower` by more than rounding."""
    slack = rounding * max(1.0, abs(lower)) if math.isfinite(lower) else math.nan
    trials = study.trials
    lowest = trials.loc[(trials["problem"] == problem) & (trials[column] < lower - slack), "label"]
    return [label for label in study.labels if label in set(lowest)]
