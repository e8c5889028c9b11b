"""From a problem to the objective that an optimizer trains: the batched model and what meters it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from optbench.core.goal import Goal
from optbench.core.meter import Meter
from optbench.core.minibatches import minibatches
from optbench.core.objective import Objective
from optbench.core.problem import FULL, Problem
from optbench.core.scoring import Point
from optbench.engine.data import splits
from optbench.engine.flops import costs
from optbench.engine.model import BatchedModel

Kind = TypeVar("Kind", bound=Objective)


def metered(
    problem: Problem,
    seeds: Sequence[int],
    passes: float,
    *,
    batch: int | None = None,
    precision: str = FULL,
    device: str = "cpu",
    on_point: Callable[[int, Point], None] | None = None,
    eager: bool = False,
    needs: str = "exact",
    time: float | None = None,
    goal: Goal | None = None,
    warms: bool = False,
    model: BatchedModel | None = None,
    kind: type[Objective] = Objective,
) -> Objective:
    """The objective of a lane group.

    seeds: one a lane. passes: the budget. batch: samples of a minibatch; None is the full batch. precision: of
    evaluations, "float32" or "bf16"; scores are in the network's own. on_point: called with
    (lane, curve point) as each point is scored. eager: nothing is compiled. needs: the oracle that the
    optimizer declares, and all that it is answered. time: the
    budget in seconds. goal: what ends a lane. warms: a warm-up, of which the start and
    the end alone are scored. model: the networks of these seeds, where
    they are there already. kind: what it is, as `metered_as` asks.
    """
    cost = costs(problem, batch, device)
    data = splits(problem, device)
    problem.begin()
    steps = cost.gradients(passes)
    return kind(
        problem,
        seeds,
        model=model or BatchedModel(problem, tuple(seeds), device, steps=steps, eager=eager, precision=precision),
        data=data,
        meter=Meter(passes, cost, device, time),
        batches=minibatches(
            data.train, seeds, batch, device, problem.varied if problem.variation else None, problem.variation
        ),
        device=device,
        on_point=on_point,
        needs=needs,
        goal=goal,
        warms=warms,
    )


def metered_as(kind: type[Kind], problem: Problem, seeds: Sequence[int], passes: float, **more: Any) -> Kind:
    """The same as an objective of a subclass, for whoever watches its calls. more: what `metered` takes besides."""
    found = metered(problem, seeds, passes, **more, kind=kind)
    assert isinstance(found, kind)
    return found
