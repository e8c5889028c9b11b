"""How much memory a lane group will take, measured on a few steps of two lanes before it runs."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from optbench.core.objective import Stop
from optbench.core.problem import Batch, Problem, Splits
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.engine.flops import costs
from optbench.engine.gradients import MIN_STEPS
from optbench.engine.metered import metered
from optbench.engine.model import BatchedModel
from optbench.execution.lane_group import batch_size, for_lanes, train
from optbench.registry.catalog import Catalog

POPULATION_PASSES = 130.0  # some generations, which show what a population keeps
BASE = 2**22  # bytes that a group takes besides its tensors: code in its first run, the allocator's waste
COMPILED = 3 * 2**23  # bytes more where its step is compiled
MIN_STEADY_STEPS = 12  # gradients without growth after which no more memory will be taken
MAX_STEPS = 300  # gradients that are waited for


class Live(TorchDispatchMode):
    """Inside it, `now` and `peak` are the bytes of tensor memory that was made inside and is not freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {self._key(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and self._key(tensor) not in known | self._storages:
                self._add(tensor.untyped_storage())
        return found

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _add(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), storage._cdata
        self._storages.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.now -= size


@dataclass(frozen=True)
class Footprint:
    """Bytes: `base`, `lane` a lane, and the largest of `works`, which only some lanes have under way at a time."""

    base: int
    lane: float
    works: tuple[tuple[float, int], ...]  # (bytes a lane, most lanes at a time)

    def of(self, lanes: int) -> int:
        """Peak bytes of a group of this width, above what the process took before."""
        return self.base + round(
            lanes * self.lane + max((size * min(lanes, most) for size, most in self.works), default=0.0)
        )

    def width(self, most: float) -> int:
        """The widest group that stays within `most` bytes; at least 1."""
        lanes = 1
        while self.of(lanes + 1) <= most and lanes < 2**16:
            lanes += 1
        return lanes


def footprint(trials: Sequence[Trial], catalog: Catalog) -> Footprint:
    """Measured on the first two trials of a group, which must fit in memory themselves."""
    pair = trials[:2]
    first = pair[0]
    built, problem = catalog.optimizer(first.optimizer, dict(first.hyper)), catalog.problem(first.problem, first.split)
    seeds, batch = tuple(trial.seed for trial in pair), batch_size(built, problem)
    # Some generations of a population, or steps until memory stays the same: L-BFGS collects a history.
    passes = first.passes if built.needs == "grad" else min(first.passes, POPULATION_PASSES)
    splits(problem, first.device)  # there before a group begins, and once for all lanes
    steps = costs(problem, batch, first.device).gradients(passes)
    base = BASE + (COMPILED if built.needs == "grad" and steps >= MIN_STEPS else 0)
    with torch.random.fork_rng(), Live() as live:
        # No steps to compile for: that is not what is to be seen.
        model = _Watched(problem, seeds, first.device, built.precision, live)
        f = metered(problem, seeds, passes, batch=batch, device=first.device, model=model)
        live.peak, model.peaks = live.now, {}
        train(for_lanes(pair, built, catalog), f, first.seed)
    at_once = model.at_once  # candidates fill their block whatever the number of lanes
    works = tuple((size / len(pair), max(len(pair), at_once.get(name, 0))) for name, size in model.peaks.items())
    return Footprint(base, live.peak / len(pair), works)


class _Watched(BatchedModel):
    """A batched model that notes what its work takes, and ends the run once no more memory is kept between steps."""

    def __init__(self, problem: Problem, seeds: tuple[int, ...], device: str, precision: str, live: Live) -> None:
        super().__init__(problem, seeds, device, precision=precision)
        self.peaks: dict[str, int] = {}  # most bytes inside a call, by the name of the call
        self._live, self._most, self._calls, self._steady = live, 0, 0, 0

    def gradients(
        self, points: Tensor, batch: Batch, index: Tensor | None = None, step: int = 0
    ) -> tuple[Tensor, Tensor]:
        self._calls += 1
        self._steady = 0 if self._live.now > self._most else self._steady + 1
        self._most = max(self._most, self._live.now)
        if self._steady > MIN_STEADY_STEPS or self._calls > MAX_STEPS:
            raise Stop
        with self._work("gradients"):
            return super().gradients(points, batch, index, step)

    def losses(self, points: Tensor, batch: Batch) -> Tensor:
        with self._work("losses"):
            return super().losses(points, batch)

    def score(self, points: Tensor, data: Splits) -> list[dict[str, float]]:
        with self._work("score"):
            return super().score(points, data)

    @contextmanager
    def _work(self, name: str) -> Iterator[None]:
        """Keep the peak inside in `peaks`, and out of the peak of what is kept between such calls."""
        before, outside = self._live.now, self._live.peak
        self._live.peak = before
        yield
        self.peaks[name] = max(self.peaks.get(name, 0), self._live.peak - before)
        self._live.peak = max(outside, self._live.now)
