"""Partial sums of hidden units' contributions: extending them by a unit, dropping the hopeless, merging the equal.

Units commute, so a sum is extended only by choices from its last one on (symmetry breaking). With merging, and with a
penalty, that still finds every sum at its least cost: of all the cheapest ways to make s, take one whose greatest
choice c is as great as can be. The sum without c was kept at its least cost, made with some greatest choice b. Were b
after c, that way with c would make s as cheaply and with a greater choice than c. So c may follow, whichever of equally
cheap ways was kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optbench.optimizers.exact.dp_bounds import Loss
from optbench.optimizers.exact.dp_merge import MAX_BLOCK, Array, Ints, keys, merge, quantum
from optbench.optimizers.exact.dp_weights import Responses
from optbench.optimizers.exact.work import did

SLACK = 1e-12  # relative: a state is dropped only if its bound is above the best by more than rounding


@dataclass(frozen=True)
class Units:
    """Choose `count` rows of `choices` and one of `biases` so that their sum has the least loss plus cost."""

    choices: Responses  # V, (A, n)
    biases: Responses  # C, (C, n)
    count: int  # K
    loss: Loss

    @property
    def spacing(self) -> float:
        """On which partial sums are compared."""
        largest = self.count * np.abs(self.choices.rows).max() + np.abs(self.biases.rows).max()
        return quantum(float(largest))


@dataclass(frozen=True)
class Stage:
    """Distinct partial sums of j units, and how each was made."""

    rows: Array  # (M, n)
    cost: Array  # (M,)
    parent: Ints  # (M,) in the stage before
    choice: Ints  # (M,) row of V, the last that was added


def empty(units: Units) -> Stage:
    """No unit yet: one state, the zero sum."""
    zero = np.zeros(1, np.int64)
    return Stage(np.zeros((1, units.choices.rows.shape[1])), np.zeros(1), zero, zero)


def pick(stage: Stage, index: Ints) -> Stage:
    """Some of its states."""
    return Stage(stage.rows[index], stage.cost[index], stage.parent[index], stage.choice[index])


def bound(units: Units, rows: Array, cost: Array, left: int) -> Array:
    """(M,) what no completion of these partial sums can undercut, their own cost included."""
    return units.loss.bound(rows, left) + cost + units.biases.cost.min()


def extend(units: Units, stage: Stage, left: int, best: float, ordered: bool = True) -> Stage:
    """All distinct sums of one unit more that may still lead to a value of at most `best`, `left` units to go."""
    parts: list[Stage] = []
    kept = merged = 0
    for part in _sums(units, stage, ordered):
        keep = bound(units, part.rows, part.cost, left) <= best + SLACK * max(1.0, abs(best))
        parts.append(_merged(units, pick(part, np.flatnonzero(keep))))
        kept += len(parts[-1].rows)
        if kept > 2 * merged + MAX_BLOCK // part.rows.shape[1]:  # so that repeats never take more than the states do
            parts = [_merged(units, _joined(parts))]
            kept = merged = len(parts[0].rows)
    return _merged(units, _joined(parts)) if parts else pick(stage, np.zeros(0, np.int64))


def _sums(units: Units, stage: Stage, ordered: bool) -> Iterator[Stage]:
    """Every partial sum plus every choice (from the last one on, if ordered), a block at a time."""
    choices, samples = units.choices.rows, units.choices.rows.shape[1]
    order = np.argsort(stage.choice, kind="stable") if ordered else np.arange(len(stage.rows))
    step = max(1, MAX_BLOCK // choices.size)
    for begin in range(0, len(order), step):
        index = order[begin : begin + step]
        first = int(stage.choice[index[0]]) if ordered else 0
        rows = stage.rows[index, None] + choices[None, first:]
        cost = stage.cost[index, None] + units.choices.cost[None, first:]
        did(rows.size + cost.size)
        parent, choice = np.meshgrid(index, np.arange(first, len(choices)), indexing="ij")
        part = Stage(rows.reshape(-1, samples), cost.ravel(), parent.ravel(), choice.ravel())
        if ordered:
            part = pick(part, np.flatnonzero(part.choice >= stage.choice[part.parent]))
        yield part


def _joined(parts: list[Stage]) -> Stage:
    names = ("rows", "cost", "parent", "choice")
    return Stage(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _merged(units: Units, stage: Stage) -> Stage:
    """Equal sums merged: the cheapest stays."""
    return pick(stage, merge(keys(stage.rows, units.spacing), stage.cost))


def trace(stages: list[Stage], level: int, index: int) -> list[int]:
    """The choices that make a state, first to last."""
    made: list[int] = []
    for stage in reversed(stages[1 : level + 1]):
        made.append(int(stage.choice[index]))
        index = int(stage.parent[index])
    return made[::-1]
