"""Instances of one function of COCO as lanes of one program: fifteen swarms then cost little more than one.

COCO's observer sees one function at a time. So the lanes run on functions that nobody observes, and what they ask is
kept: `run_trial` asks the observed function the same. The log is the log of trials one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.bridges.coco_trial import OBSERVED, Asked, Unscored, Watch, key_of
from optbench.bridges.packages import load
from optbench.core.objective import Stop
from optbench.engine.metered import metered
from optbench.execution.lane_group import batch_size, train
from optbench.optimizers.arrays import Array
from optbench.problems import bbob
from optbench.registry.catalog import Built

MAX_BYTES = 1 << 28  # of the points that a group of lanes keeps


class Lane:
    """A function that nobody observes, and the points that it was asked for."""

    def __init__(self, function: Any, optimum: float) -> None:
        """function: a `cocoex.Problem`. optimum: its lowest value."""
        self.points: list[Array] = []
        self._watch, self._over = Watch(function, optimum), False
        self._watch.begin()

    @property
    def over(self) -> bool:
        """Whether nothing more is evaluated: the last target is hit, or the optimizer is stuck."""
        return self._over or self._watch.solved

    def values(self, x: Array) -> Array:
        """(P, d) -> (P,); infinite once it is over."""
        if not self.over:
            self.points.append(x.copy())
            try:
                return self._watch.values(x)
            except Stop:
                self._over = True
        return np.full(len(x), np.inf)


@dataclass
class Group:
    """Lanes in the place of one function."""

    lanes: Sequence[Lane]
    open: bool = False  # evaluations are the optimizer's, and no look at what they cost

    def values(self, x: Array) -> Array:
        """(B P, d), lane by lane -> (B P,). Raises Stop once every lane is over."""
        if all(lane.over for lane in self.lanes):
            raise Stop
        parts = np.split(x, len(self.lanes))
        return np.concatenate([lane.values(part) for lane, part in zip(self.lanes, parts, strict=True)])


def lanes_at_once(built: Built, suite: str, d: int, budget: float) -> int:
    """How many instances may run as lanes; 1 where the optimizer has none, and for noise, which is one stream."""
    if not built.lanes or built.needs != "value" or suite == "bbob-noisy":
        return 1
    return max(1, int(MAX_BYTES // (8 * d * budget)))


def ask_ahead(
    built: Built, suite: str, f: int, d: int, instances: Sequence[int], seed: int, budget: float
) -> list[Asked]:
    """What an optimizer asks of every instance of a function until it ends, before any restart.

    seed and budget (evaluations): those of `run_trial`.
    """
    index = bbob.index_of(suite, f)
    numbers = ",".join(map(str, instances))
    found = load("cocoex", "coco").Suite(suite, f"instances: {numbers}", f"dimensions: {d} function_indices: {index}")
    functions = [found.get_problem(name) for name in found.ids()]
    lanes = [Lane(function, bbob.optimal_value(suite, f, function.id_instance)) for function in functions]
    group = Group(lanes)
    problem = OBSERVED[suite](f=f, d=d, i=instances[0], watch=group)
    seeds = [key_of(seed, f, d, function.id_instance, 0) for function in functions]
    objective = metered(
        problem, seeds, budget - 1, batch=batch_size(built, problem), needs=built.needs, eager=True, kind=Unscored
    )
    group.open = True
    status, reason = train(built.optimizer, objective, seeds[0])
    for function in functions:
        function.free()
    return [Asked(lane.points, status, reason) for lane in lanes]
