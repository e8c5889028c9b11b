"""On which split of a problem's data each seed trained. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Splits = Mapping[tuple[str, int], int]  # (problem, seed): the split
# Facts of a problem that may differ from split to split; those of the stated split stand among all other facts.
OF_A_SPLIT = (
    *("train", "valid", "test", "flops_per_pass", "passes_per_step"),
    *("start", "best", "targets", "taus", "validation"),
)


def fact_of(fact: Mapping[str, Any], split: int) -> dict[str, Any]:
    """The facts of a problem on one split; without start, best loss and targets where they are not stated for it."""
    if not split:
        return dict(fact)
    own = (fact.get("splits") or {}).get(str(split)) or {}
    return {name: value for name, value in fact.items() if name not in OF_A_SPLIT} | own


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
