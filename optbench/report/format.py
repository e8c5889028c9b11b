"""Numbers as a reader wants them: three digits, units, intervals, and "never" instead of infinity."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Any, cast

import pandas as pd

from optbench.report.analysis.statistics import Interval

DASH = "\N{EN DASH}"  # no value
MINUS = "\N{MINUS SIGN}"
_TUNED = re.compile(r" \(tuned, \d+\)")
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def number(value: float, never: str = "never") -> str:
    """Three significant digits; an infinity reads `never`, NaN a dash."""
    if math.isnan(value):
        return DASH
    if math.isinf(value):
        return never if value > 0 else MINUS + "∞"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e5:
        decimals = max(0, 2 - math.floor(math.log10(size)))
        text = f"{value:.{decimals}f}"
    else:
        text = f"{value:.2e}"
    return text.replace("-", MINUS, 1) if text.startswith("-") else text


def between(interval: Interval, never: str = "never") -> str:
    """A median with its interval: 38.0 [31.0, 47.0], or 38.0 (31.0 to 47.0) where the ends cover less than 90 %."""
    middle = number(interval.estimate, never)
    if not interval.level or math.isnan(interval.estimate):
        return middle
    low, high = number(interval.low, never), number(interval.high, never)
    return f"{middle} [{low}, {high}]" if interval.level >= 0.9 else f"{middle} ({low} to {high})"


def scaled(value: float | None, unit: str) -> str:
    """ "1.23 M samples/s"; a dash where unknown."""
    if value is None or not math.isfinite(value):
        return DASH
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor:
            return f"{number(value / factor)} {prefix}{unit}"
    return f"{number(value)} {unit}"


def percent(share: float) -> str:
    return DASH if not math.isfinite(share) else f"{100 * share:.3g} %"


def target_name(tau: float, kind: str = "target") -> str:
    """ "1 % target": what is still to go of the way from the start down to the best loss known; a goal has its name."""
    if tau == 0:
        return kind
    return f"{100 * tau:g} % {kind}"


def listed(items: Sequence[str], last: str = "and", maximum: int = 12) -> str:
    """The items with commas and a last "and"; past `maximum` of them the rest is a number."""
    if len(items) > maximum:
        items = [*items[: maximum - 1], f"{len(items) - maximum + 1} others"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries, in order."""
    return cast(list[dict[str, Any]], table.to_dict("records"))


def plain(label: str, labels: Collection[str]) -> str:
    """The label without the mark that it was tuned, where no other is left with the same name."""
    bare = _TUNED.sub("", label)
    return label if any(other != label and _TUNED.sub("", other) == bare for other in labels) else bare
