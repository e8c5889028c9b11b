"""From trials to lane groups: which trials are one program, how many at a time, and which are timed alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter

import torch

from optbench.network import Rows, flops, splits
from optbench.plugins import Built, Catalog
from optbench.problem import Problem, gather
from optbench.run import batch_size
from optbench.trial import Trial

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
            most = width or worthwhile(problem, built, first.passes, first.device)
        count = -(-len(some) // most)
        step = most if width else -(-len(some) // count)  # groups of nearly equal size
        yield from (some[k : k + step] for k in range(0, len(some), step))


def _mates(trial: Trial, catalog: Catalog) -> Hashable:
    """What trials of one lane group have in common."""
    built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
    if hasattr(built.optimizer, "together"):
        return replace(trial, seed=0, hyper=()), built.batch
    return replace(trial, seed=0), built.batch


def worthwhile(problem: Problem, built: Built, passes: float, device: str) -> int:
    """Lanes that one group should have on this machine, as far as time goes; 1 where lanes do not pay."""
    samples = len(splits(problem, device).train[0])
    size = min(batch_size(built, problem) or samples, samples)
    whole = flops(problem, samples, device)[0]
    if built.needs != "grad":
        return max(1, min(WIDEST[device], int(LONGEST * _SPEED / max(1.0, passes * whole))))
    alone, lane = step_times(problem, size, device)
    if device == "cuda":
        return WIDEST[device] if lane < alone else 1
    if lane > GAIN * alone:
        return 1
    steps = passes * whole / sum(flops(problem, size, device))
    return max(1, min(WIDEST[device], int(LONGEST / (steps * lane))))


@lru_cache(maxsize=256)
def step_times(problem: Problem, size: int, device: str) -> tuple[float, float]:
    """Seconds of a gradient on a minibatch: of the plain module, and of one lane more among many.

    The second is the slope between 2 and 12 lanes, so that bookkeeping which tracing takes away does not count.
    """
    data = splits(problem, device).train
    shared = size >= len(data[0])

    def seconds(call: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(3):  # the first one warms up
            began = perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, perf_counter() - began)
        return best

    def together(lanes: int) -> float:
        rows = Rows(problem, tuple(range(lanes)), device)
        index = None if shared else torch.arange(size, device=device).repeat(lanes, 1)
        return seconds(lambda: rows.gradients(rows.matrix, data, range(lanes), 0, index))

    plain = Rows(problem, (0,), device)
    batch = data if shared else gather(data, torch.arange(size, device=device))
    with torch.random.fork_rng():
        return seconds(lambda: plain.backward(batch)), max(1e-7, (together(12) - together(2)) / 10)
