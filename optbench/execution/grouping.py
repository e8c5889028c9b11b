"""From trials to lane groups: which trials are one program, how many at a time, and which are timed alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import torch

from optbench.core.minibatches import take
from optbench.core.problem import Problem
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.engine.gradients import MIN_STEPS
from optbench.engine.model import BatchedModel
from optbench.execution.lane_group import batch_size
from optbench.registry.catalog import Built, Catalog

WIDEST = {"cpu": 128, "cuda": 4096}  # lanes; beyond it nothing is gained on a CPU
LONGEST = 20.0  # seconds that a group should take at most: what is lost with it, and what a progress bar can show
GAIN = 0.9  # of a plain step's time that a lane's step may take for lanes to pay
_SPEED = 5e9  # FLOP/s that a population is expected to reach at least


def timed(trials: Sequence[Trial], competitor: Callable[[Trial], str]) -> list[Trial]:
    """The trials that are run alone for their clock: the first of every problem and competitor.

    competitor: what a report compares; the settings that are tried of one optimizer are one.
    """
    firsts: dict[Hashable, Trial] = {}
    for trial in trials:
        firsts.setdefault((trial.problem, competitor(trial)), trial)
    return list(firsts.values())


def groups(trials: Sequence[Trial], catalog: Catalog, width: int | None) -> Iterator[list[Trial]]:
    """Lane groups of at most `width` trials: equal but for the seed and for settings that may differ by lane.

    width: None takes as many as pay on this machine, and no lanes where they do not.
    """
    alike: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(_mates(trial, catalog), []).append(trial)
    for some in alike.values():
        first = some[0]
        problem, built = catalog.problem(first.problem), catalog.optimizer(first.optimizer, dict(first.hyper))
        most = 1
        if built.lanes and problem.vmaps and len(some) > 1:
            most = width or worthwhile(problem, built, first.passes, first.device, len(some))
        count = -(-len(some) // most)
        step = most if width else -(-len(some) // count)  # groups of nearly equal size
        yield from (some[k : k + step] for k in range(0, len(some), step))


def _mates(trial: Trial, catalog: Catalog) -> Hashable:
    """What trials of one lane group have in common."""
    built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
    if hasattr(built.optimizer, "together"):
        return replace(trial, seed=0, hyper=()), built.batch
    return replace(trial, seed=0), built.batch


def worthwhile(problem: Problem, built: Built, passes: float, device: str, trials: int) -> int:
    """Lanes that a group of so many trials should have here, as far as time goes; 1 where they do not pay."""
    samples = len(splits(problem, device).train[0])
    size = min(batch_size(built, problem) or samples, samples)
    whole = flops(problem, samples, device)[0]
    if built.needs != "grad":
        return max(1, min(WIDEST[device], int(LONGEST * _SPEED / max(1.0, passes * whole))))
    steps = passes * whole / sum(flops(problem, size, device))
    times = step_times(problem, size, device)
    lane, once = times.lane, 0.0
    if lane > GAIN * times.alone and steps >= MIN_STEPS:
        lane, once = traced_times(problem, size, device)
    if lane > GAIN * times.alone or trials * steps * (times.alone - lane) < once:
        return 1
    return WIDEST[device] if device == "cuda" else max(1, min(WIDEST[device], int(LONGEST / (steps * lane))))


class Times(NamedTuple):
    """Seconds of a gradient on a minibatch: of the plain module, and of one lane more among many."""

    alone: float
    lane: float


@lru_cache(maxsize=256)
def step_times(problem: Problem, size: int, device: str) -> Times:
    """Untraced. A lane's is the slope between 2 and 12 lanes: bookkeeping, which tracing takes away, does not count."""
    data = splits(problem, device).train
    plain = BatchedModel(problem, (0,), device)
    batch = data if size >= len(data[0]) else take(data, torch.arange(size, device=device))
    with torch.random.fork_rng():
        alone = _seconds(lambda: plain.backward(batch), device)
    few, many = (_seconds(_together(problem, size, device, lanes)[1], device) for lanes in (2, 12))
    return Times(alone, max(1e-7, (many - few) / 10))


@lru_cache(maxsize=256)
def traced_times(problem: Problem, size: int, device: str) -> tuple[float, float]:
    """Seconds of a lane's gradient among twelve once it is traced, and seconds that tracing takes."""
    rows, step = _together(problem, size, device, 12, MIN_STEPS)
    step()
    return _seconds(step, device) / 12, rows.overhead


def _together(
    problem: Problem, size: int, device: str, lanes: int, steps: int = 0
) -> tuple[BatchedModel, Callable[[], object]]:
    """So many lanes, and their gradient on minibatches of this size, compiled where so many steps repay it."""
    data = splits(problem, device).train
    rows = BatchedModel(problem, tuple(range(lanes)), device, steps=steps)
    index = None if size >= len(data[0]) else torch.arange(size, device=device).repeat(lanes, 1)
    return rows, lambda: rows.gradients(rows.matrix, data, index)


def _seconds(call: Callable[[], object], device: str) -> float:
    """The least of three; the first one warms up."""
    best = float("inf")
    for _ in range(3):
        began = perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, perf_counter() - began)
    return best
