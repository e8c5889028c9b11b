"""How many lanes pay on this machine: measured on a few gradients, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import NamedTuple

import torch

from optbench.core.minibatches import take
from optbench.core.problem import FULL, Problem, dimension
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.engine.gradients import MIN_STEPS
from optbench.engine.model import BatchedModel
from optbench.execution.lane_group import batch_size
from optbench.registry.catalog import Built

MAX_LANES = {"cpu": 128, "cuda": 4096}  # by device; beyond it nothing is gained on a CPU
MAX_STATE_NUMBERS = 2**19  # in the vectors of all lanes: 2 MiB in float32, beyond which they come from far memory
MIN_STATE_LANES = 16  # whatever their vectors take
_VECTORS = 4  # of one lane: its point, its gradient and Adam's two
MAX_GROUP_SECONDS = 20.0  # that a group should take: what fails with it, and what a progress bar can show
MAX_LANE_SHARE = 0.9  # of a plain step's time that a lane's step may take for lanes to pay
_MIN_FLOPS_PER_SECOND = 5e9  # that a population is expected to reach


def worthwhile(problem: Problem, built: Built, passes: float, device: str, trials: int, eager: bool = False) -> int:
    """Lanes that a group of so many trials should have here, as far as time goes; 1 where they do not pay.

    passes: the budget of a trial. trials: that the traced step of one worker will train. eager: steps will not be
    compiled. 1 also where a gradient cannot be measured: the trials themselves then say why.
    """
    samples = len(splits(problem, device).train[0])
    size = min(batch_size(built, problem) or samples, samples)
    one_pass = flops(problem, samples, device)[0]
    if built.needs != "grad":
        return max(
            1, min(MAX_LANES[device], int(MAX_GROUP_SECONDS * _MIN_FLOPS_PER_SECOND / max(1.0, passes * one_pass)))
        )
    steps = passes * one_pass / sum(flops(problem, size, device))
    try:
        times = step_times(problem, size, device, built.precision)
        lane, once = times.lane, 0.0
        if lane > MAX_LANE_SHARE * times.alone and steps >= MIN_STEPS and not eager:
            lane, once = traced_times(problem, size, device, built.precision)
    except Exception:
        return 1
    if lane > MAX_LANE_SHARE * times.alone or trials * steps * (times.alone - lane) < once:
        return 1
    if device == "cuda":
        return MAX_LANES[device]
    cached = max(MIN_STATE_LANES, MAX_STATE_NUMBERS // (_VECTORS * dimension(problem)))
    return max(1, min(MAX_LANES[device], cached, int(MAX_GROUP_SECONDS / (steps * lane))))


class Times(NamedTuple):
    """Seconds of a gradient on a minibatch: of the plain module, and of one lane more among many."""

    alone: float
    lane: float


@lru_cache(maxsize=256)
def step_times(problem: Problem, size: int, device: str, precision: str = FULL) -> Times:
    """Untraced. A lane's is the slope between 2 and 12 lanes: bookkeeping, which tracing takes away, does not count."""
    data = splits(problem, device).train
    plain = BatchedModel(problem, (0,), device, precision=precision)
    batch = data if size >= len(data[0]) else take(data, torch.arange(size, device=device))
    with torch.random.fork_rng():
        alone = _seconds(lambda: plain.backward(batch), device)
    narrow, wide = (_seconds(_together(problem, size, device, lanes, precision)[1], device) for lanes in (2, 12))
    return Times(alone, max(1e-7, (wide - narrow) / 10))


@lru_cache(maxsize=256)
def traced_times(problem: Problem, size: int, device: str, precision: str = FULL) -> tuple[float, float]:
    """Seconds of a lane's gradient among twelve once it is traced, and seconds that tracing takes."""
    rows, step = _together(problem, size, device, 12, precision, MIN_STEPS)
    step()
    return _seconds(step, device) / 12, rows.overhead


def _together(
    problem: Problem, size: int, device: str, lanes: int, precision: str, steps: int = 0
) -> tuple[BatchedModel, Callable[[], object]]:
    """So many lanes, and their gradient on minibatches of this size, compiled where so many steps repay it."""
    data = splits(problem, device).train
    rows = BatchedModel(problem, tuple(range(lanes)), device, steps=steps, precision=precision)
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
