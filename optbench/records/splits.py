"""On which split of a problem's data each seed trained. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Splits = Mapping[tuple[str, int], int]  # (problem, seed): the split


def splits_of(trials: Iterable[Mapping[Any, Any]]) -> dict[tuple[str, int], int]:
    """The split of every (problem, seed) of some trials as plain data; one that names none has split 0."""
    return {(str(one["problem"]), int(one.get("seed") or 0)): int(one.get("split") or 0) for one in trials}


def with_splits(fact: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a problem, with those splits of its data that only the other facts of it know."""
    found = {**(other.get("splits") or {}), **(fact.get("splits") or {})}
    return {**fact, "splits": found} if found else dict(fact)


def other_splits(one: Splits, other: Splits) -> str:
    """Where a seed of a problem trained on two splits, in a few words; empty where none did."""
    for problem, seed in one:
        first, second = one[problem, seed], other.get((problem, seed))
        if second is not None and first != second:
            return f"seed {seed} of {problem} on split {first} of its data, not on split {second}"
    return ""
