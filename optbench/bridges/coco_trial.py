"""One trial under COCO's own observer: restarts until the budget is spent or the last target is hit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from optbench.core.objective import Objective, Stop
from optbench.core.problem import Batch, Net
from optbench.engine.metered import metered
from optbench.execution.lane_group import batch_size, train
from optbench.optimizers.arrays import Array
from optbench.problems import bbob
from optbench.problems.outside import PRECISIONS
from optbench.registry.catalog import Built

MAX_REPEATS = 3  # calls for the very same points after which an optimizer that does not say so has converged


class Watch:
    """An observed function of COCO. Every evaluation goes through it, to COCO's log, and its hits are seen here too."""

    def __init__(self, function: Any, optimum: float) -> None:
        """function: a `cocoex.Problem` with an observer. optimum: its lowest value."""
        self.hits: dict[float, int] = {}  # {precision: the evaluation that first was within it}
        self.open = False  # evaluations are the optimizer's, and no look at what they cost
        self._function, self._optimum = function, optimum
        self._best, self._next = np.inf, 0  # lowest value so far, and the first precision that is not yet hit
        self._latest, self._repeats = b"", 0  # what was asked last, and how often just that before

    @property
    def evaluations(self) -> int:
        """So far, as COCO counts them."""
        return int(self._function.evaluations)

    @property
    def solved(self) -> bool:
        """Whether COCO's last target is hit."""
        return bool(self._function.final_target_hit)

    @property
    def stuck(self) -> bool:
        """Whether the optimizer asks for nothing but the points of its calls before, bit for bit: it has converged."""
        return self._repeats >= MAX_REPEATS

    def begin(self) -> None:
        """Evaluate the middle of the box, as COCO's examples do before anything else."""
        with suppress(Stop):
            self.values(np.zeros((1, self._function.dimension)))

    def restart(self) -> None:
        """Another start begins."""
        self._repeats = 0

    def values(self, x: Array) -> Array:
        """(P, d) -> (P,), one by one. Raises Stop after the evaluation that hits the last target, and when stuck."""
        asked = x.tobytes()
        self._repeats = self._repeats + 1 if asked == self._latest else 0
        if self.stuck:
            raise Stop
        self._latest = asked
        found = np.empty(len(x))
        for k, point in enumerate(x):
            found[k] = value = self._function(point)
            if value < self._best:
                self._best = value
                self._note()
                if value - self._optimum < 1e-7 and self.solved:
                    raise Stop
        return found

    def _note(self) -> None:
        while self._next < len(PRECISIONS) and self._best - self._optimum <= PRECISIONS[self._next]:
            self.hits[PRECISIONS[self._next]] = self.evaluations
            self._next += 1


class Asked(NamedTuple):
    """What an optimizer asked of a function until it ended, hit the last target or was stuck, and how it ended."""

    points: list[Array]  # (P, d) a call
    status: str
    reason: str | None


class Evaluator(Protocol):
    """What values come from: while it is not open, there are none."""

    open: bool

    def values(self, x: Array) -> Array:
        """(P, d) -> (P,)."""


class Unscored(Objective):
    """COCO keeps its own scores, and no count of what an optimizer computes by itself: neither is taken here."""

    def counting_own_work(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _enter(self) -> None:
        self._meter.enter()

    def _score(self, final: bool = False) -> Tensor:
        return self._model.matrix


@dataclass(frozen=True)
class Observed(bbob.Bbob):
    """A function under an observer: what the optimizer asks is logged, and nothing else is evaluated at all."""

    watch: Evaluator | None = field(default=None, compare=False)

    def loss(self, net: Net, batch: Batch) -> Tensor:
        if torch.is_grad_enabled():
            return super().loss(net, batch)
        return torch.zeros((), dtype=self.dtype)  # a score: COCO keeps its own

    def values(self, x: Array) -> Array:
        if self.watch is None or not self.watch.open:
            return np.zeros(len(x))
        return self.watch.values(x)


class ObservedLargescale(Observed, bbob.BbobLargescale):
    """The same of bbob-largescale."""


class ObservedNoisy(Observed, bbob.BbobNoisy):
    """The same of bbob-noisy; its noise goes on from one function to the next, as in COCO's own loop."""

    def begin(self) -> None:
        """The observed function has begun already."""


OBSERVED: dict[str, type[Observed]] = {kind.suite: kind for kind in (Observed, ObservedLargescale, ObservedNoisy)}


@dataclass(frozen=True)
class Ended:
    """How the trial on one function of COCO ended."""

    f: int
    d: int
    i: int
    evaluations: int
    restarts: int
    hits: dict[float, int]  # {precision: evaluations to it}
    error: str | None = None  # of an optimizer that failed: the rest of its budget is not spent


def run_trial(
    function: Any,
    built: Built,
    *,
    suite: str,
    seed: int,
    budget: float,
    gradient: str = "none",
    asked: Asked | None = None,
    restarted: Callable[[Any], None] = lambda function: None,
) -> Ended:
    """Run an optimizer on an observed function, as COCO's example experiments do.

    The first evaluation is the middle of the box, whatever comes after. An optimizer that ends early, or asks for the
    same points over and over, begins again from other starts.

    function: a `cocoex.Problem` under an observer. seed: with the function, it keys the starts of every restart.
    budget: evaluations. gradient: finite differences, as of `Bbob`. asked: what the optimizer is known to ask before
    its first restart. restarted: called with the function before each.
    """
    f, d, i = function.id_function, function.dimension, function.id_instance
    watch = Watch(function, bbob.optimal_value(suite, f, i))
    problem = OBSERVED[suite](f=f, d=d, i=i, gradient=gradient, watch=watch)
    restarts, error = 0, None
    watch.begin()
    while watch.evaluations < budget and not watch.solved:
        before = watch.evaluations
        if asked is not None:
            status, reason = _ask(watch, asked)
            asked = None
        else:
            own = key_of(seed, f, d, i, restarts)
            status, reason = _train(built, problem, watch, own, budget - before)
        if status in ("failed", "inapplicable") and not watch.solved and not watch.stuck:
            error = reason
            break
        if watch.evaluations == before:  # what is left pays for no step
            break
        if watch.evaluations < budget and not watch.solved:
            restarts += 1
            watch.restart()
            restarted(function)
    return Ended(f, d, i, watch.evaluations, restarts, watch.hits, error)


def _train(built: Built, problem: Observed, watch: Watch, seed: int, budget: float) -> tuple[str, str | None]:
    """From one start to its end: the status and its reason."""
    objective = metered(
        problem, [seed], budget, batch=batch_size(built, problem), needs=built.needs, eager=True, kind=Unscored
    )
    watch.open = True
    objective.start_clock()
    ended = train(built.optimizer, objective, seed)
    watch.open = False
    return ended


def _ask(watch: Watch, asked: Asked) -> tuple[str, str | None]:
    with suppress(Stop):
        for points in asked.points:
            watch.values(points)
    return asked.status, asked.reason


def key_of(*numbers: int) -> int:
    """The seed that these numbers make, the same in every process."""
    digest = hashlib.sha256(":".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
