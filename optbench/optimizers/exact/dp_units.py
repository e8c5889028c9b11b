"""The recursion over hidden units: the best sum of K contributions and a bias, each from a finite set.

D_{j+1}(s') = min_{s + a = s'} D_j(s) + R(a), a in V, and the answer is min over s of loss(s + c, y) + D_K(s) + R(c).
It is exact because the loss depends on the first j units only through their sum: equal sums share a future, the
cheapest is kept. Units commute, so a sum is extended only by contributions from its last one on (`dp_sums`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import comb

import numpy as np

from optbench.optimizers.exact.dp_bounds import Binary, Loss, Squared
from optbench.optimizers.exact.dp_merge import MAX_BLOCK, Array, Ints, check_memory
from optbench.optimizers.exact.dp_sums import SLACK, Stage, Units, bound, empty, extend, pick, trace
from optbench.optimizers.exact.dp_weights import Responses
from optbench.optimizers.exact.work import did


@dataclass
class Found:
    """The best completion so far: its loss plus cost, and which choices make it."""

    value: float = np.inf
    choices: list[int] = field(default_factory=list)  # K rows of V
    bias: int = 0  # row of C
    dropped: float = np.inf  # beam: the least bound among the partial sums that were given up
    states: list[int] = field(default_factory=list)  # distinct partial sums kept at each stage


def make_loss(name: str, y: Array, choices: Responses, biases: Responses) -> Loss:
    """ "mse" or "bce" on flat targets (n,), with its bounds for these contributions."""
    return (Squared if name == "mse" else Binary)(y, choices.rows, biases.rows)


def check_units(units: Units, cap: float, middle: bool) -> None:
    """Raise Inapplicable, before any of it is allocated, where the partial sums may take more than `cap` GiB."""
    half = _kept_stages(units, middle)
    width = units.choices.rows.shape[1] + 3
    way_out = "use beam=1000, a coarser grid or fewer samples"
    if isinstance(units.loss, Squared) and not middle:
        way_out = f"use middle=True, {way_out[4:]}"
    states = comb(len(units.choices.rows) + half - 1, half)
    check_memory(states, width, cap, f"the sums of {half} units", way_out)


def _kept_stages(units: Units, middle: bool) -> int:
    """Stages to keep: half of the units where two halves can be matched, all but the last where it is streamed."""
    if not isinstance(units.loss, Squared):
        return units.count - 1
    return (units.count + 1) // 2 if middle else max(1, units.count - 1)


def solve(units: Units, best: float = np.inf, middle: bool = True) -> Found:
    """The exact optimum, or a Found with value infinity if nothing is below `best`.

    middle: match the sums of the two halves of the units (squared error only) instead of streaming the last unit.
    """
    guess = beam(units, width=16)
    found = guess if guess.value <= best else Found(best)
    half = _kept_stages(units, middle)
    stages = [empty(units)]
    for left in range(units.count - 1, units.count - 1 - half, -1):
        stages.append(extend(units, stages[-1], left, found.value))
    found.states = [len(stage.rows) for stage in stages]
    if not found.states[-1]:
        return found
    if isinstance(units.loss, Squared):
        _match(units, stages, half, found)
    else:
        _stream(units, stages, found)
    return found


def beam(units: Units, width: int) -> Found:
    """Keep `width` partial sums a stage. Not exact: the optimum lies between min(value, dropped) and value.

    Those with the best loss now (with their best bias) are kept, in no particular order of units: symmetry
    breaking would tie a greedy choice to contributions after it.
    """
    found = Found()
    stages = [empty(units)]
    for left in range(units.count - 1, 0, -1):
        stage = extend(units, stages[-1], left, np.inf, ordered=False)
        if len(stage.rows) > width:
            order = np.argsort(_loss_now(units, stage), kind="stable")
            given_up = order[width:]
            found.dropped = min(found.dropped, float((bound(units, stage.rows, stage.cost, left)[given_up]).min()))
            stage = pick(stage, order[:width])
        stages.append(stage)
    found.states = [len(stage.rows) for stage in stages]
    _stream(units, stages, found, ordered=False)
    return found


def _loss_now(units: Units, stage: Stage) -> Array:
    """(M,) loss plus cost if nothing more is added than the best bias."""
    values = [
        units.loss.value(stage.rows + row) + cost
        for row, cost in zip(units.biases.rows, units.biases.cost, strict=True)
    ]
    found: Array = np.min(values, axis=0) + stage.cost
    return found


def _match(units: Units, stages: list[Stage], half: int, found: Found) -> None:
    """The least loss plus cost over a in the first half's sums, b in the rest's and c in the biases, into `found`.

    |y - a - b|^2 = |y - a|^2 - 2 (y - a).b + |b|^2 for a block of pairs is one matrix product, its last column carrying
    what depends on b alone. With the directions that biases span projected out it is a lower bound whatever the bias;
    only pairs whose bound is not above the best are evaluated, exactly and with every bias, the most promising first.
    """
    assert isinstance(units.loss, Squared)
    n, first, second = len(units.loss.y), stages[half], stages[units.count - half]
    span = _complement(units.biases.rows)  # (n, n')
    missing = (units.loss.y - units.biases.rows[0] - first.rows) @ span  # (M, n')
    own = (missing**2).sum(1) + n * (first.cost + units.biases.cost.min())
    rest = second.rows @ span  # (M', n')
    did(2 * (missing.size + rest.size) * n)
    tail = np.concatenate([2 * rest, -(rest**2).sum(1)[:, None] - n * second.cost[:, None]], 1)
    head = np.concatenate([missing, np.ones((len(missing), 1))], 1)
    rounding = 1e-13 * float(own.max() + np.abs(tail[:, -1]).max())
    order = np.argsort((missing**2).sum(1), kind="stable")
    wide = min(len(tail), 4096)
    tall = max(1, MAX_BLOCK // 4 // wide)
    for b in range(0, len(tail), wide):
        part = np.ascontiguousarray(tail[b : b + wide].T)
        for a in range(0, len(order), tall):
            index = order[a : a + tall]
            gain = head[index] @ part  # own - gain is n times a lower bound on the value
            did((2 * len(part) + 2) * gain.size)
            limit = own[index] - n * found.value - rounding
            reached = np.flatnonzero(gain.max(1) >= limit)
            i, j = np.nonzero(gain[reached] >= limit[reached, None])
            i = reached[i]
            _try_pairs(
                units, stages, half, np.stack([index[i], b + j]), (own[index[i]] - gain[i, j] - rounding) / n, found
            )


def _complement(biases: Array) -> Array:
    """(n, n') an orthonormal basis of what is orthogonal to every difference between biases (C, n)."""
    _, size, axes = np.linalg.svd(biases - biases[0], full_matrices=True)
    rank = int((size > 1e-9 * max(1.0, float(size.max()))).sum())
    return axes[rank:].T


def _try_pairs(units: Units, stages: list[Stage], half: int, pairs: Ints, least: Array, found: Found) -> None:
    """Evaluate pairs (2, T) of states with every bias, in the order of their lower bounds `least`, into `found`."""
    first, second = stages[half], stages[units.count - half]
    order = np.argsort(least, kind="stable")
    step = max(1, MAX_BLOCK // 4 // units.biases.rows.size)
    for begin in range(0, len(order), step):
        if least[order[begin]] > found.value:
            return
        i, j = pairs[:, order[begin : begin + step]]
        z = (first.rows[i] + second.rows[j])[:, None] + units.biases.rows  # (T, C, n)
        values = units.loss.value(z) + (first.cost[i] + second.cost[j])[:, None] + units.biases.cost
        did(2 * z.size + 3 * values.size)
        at, bias = np.unravel_index(int(values.argmin()), values.shape)
        if values[at, bias] < found.value:
            found.value, found.bias = float(values[at, bias]), int(bias)
            found.choices = trace(stages, half, int(i[at])) + trace(stages, units.count - half, int(j[at]))


def _stream(units: Units, stages: list[Stage], found: Found, ordered: bool = True) -> None:
    """Add the last unit and the bias to every state of the last stage, a block at a time, keeping the best only."""
    stage = stages[-1]
    least = bound(units, stage.rows, stage.cost, 1)
    for begin, index in _blocks(units, stage, least, ordered):
        if least[index].min() > found.value + SLACK * max(1.0, abs(found.value)):
            continue
        for bias, (row, cost) in enumerate(zip(units.biases.rows, units.biases.cost, strict=True)):
            z = stage.rows[index, None] + row + units.choices.rows[None, begin:]
            values = units.loss.value(z) + stage.cost[index, None] + units.choices.cost[begin:] + cost
            did(2 * z.size + 4 * values.size)
            i, choice = np.unravel_index(int(values.argmin()), values.shape)
            if values[i, choice] < found.value:
                found.value, found.bias = float(values[i, choice]), bias
                found.choices = [*trace(stages, len(stages) - 1, int(index[i])), begin + int(choice)]


def _blocks(units: Units, stage: Stage, least: Array, ordered: bool) -> Iterator[tuple[int, Ints]]:
    """(first choice to add, states) for blocks of states: the most promising first, or those with one last choice."""
    order = np.lexsort((least, stage.choice)) if ordered else np.argsort(least, kind="stable")
    step = max(1, MAX_BLOCK // 4 // units.choices.rows.size)
    for begin in range(0, len(order), step):
        index = order[begin : begin + step]
        yield (int(stage.choice[index].min()) if ordered else 0), index
