"""How much memory a lane group will take, measured on a few steps of two lanes before it runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from optbench.core.objective import Stop
from optbench.core.trial import Trial
from optbench.engine.model import splits
from optbench.execution.lane_group import for_lanes, objective, train
from optbench.registry.catalog import Catalog

GENERATIONS = 130.0  # candidates that show what a population holds
BASE = 2**22  # bytes that a group takes besides its tensors: code in its first run, the allocator's waste
TRACE = 3 * 2**23  # bytes more where its step is traced
QUIET = 12  # gradients after which nothing is held that was not held before, and no more will be
LONGEST = 300  # gradients that are waited for at most


class Live(TorchDispatchMode):
    """Inside it, `now` and `peak` are the bytes of tensor memory that was made inside and is still held."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {self._key(tensor) for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and self._key(tensor) not in known | self._held:
                self._hold(tensor.untyped_storage())
        return found

    @staticmethod
    def _key(tensor: Tensor) -> int:
        return tensor.untyped_storage()._cdata

    def _hold(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), storage._cdata
        self._held.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._let_go, key, size)

    def _let_go(self, key: int, size: int) -> None:
        self._held.discard(key)
        self.now -= size


@dataclass(frozen=True)
class Footprint:
    """Bytes: `base`, `lane` a lane, and the largest of `works`, which only some lanes have under way at a time."""

    base: int
    lane: float
    works: tuple[tuple[float, int], ...]  # (bytes a lane, most lanes at a time)

    def of(self, lanes: int) -> int:
        """Peak bytes of a group of this width, above what the process held before."""
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
    built, problem = catalog.optimizer(first.optimizer, dict(first.hyper)), catalog.problem(first.problem)
    works: dict[str, int] = {}
    # Some generations of a population, or steps until no more is held: L-BFGS gathers a history.
    passes = first.passes if built.needs == "grad" else min(first.passes, GENERATIONS)
    splits(problem, first.device)  # there before a group begins, and once for all lanes
    with torch.random.fork_rng(), Live() as live:
        f = objective(pair, passes, built, problem)
        base = BASE + (TRACE if f._model.traces and built.needs == "grad" else 0)
        f._model.traces = False  # its making is not what is to be seen here
        live.peak = live.now
        for name in ("gradients", "losses", "score"):
            setattr(f._model, name, _watched(getattr(f._model, name), name, live, works))
        f._model.gradients = _until_settled(f._model.gradients, live)  # type: ignore[method-assign]
        train(for_lanes(pair, built, catalog), f, first.seed)
    at_once = f._model.at_once  # candidates fill their block whatever the number of lanes
    sizes = tuple((size / len(pair), max(len(pair), at_once.get(name, 0))) for name, size in works.items())
    return Footprint(base, live.peak / len(pair), sizes)


def _watched(call: Callable[..., Any], name: str, live: Live, works: dict[str, int]) -> Callable[..., Any]:
    """The call, with its own peak kept in `works` and out of the peak of what is held between such calls."""

    def watched(*args: Any, **kwargs: Any) -> Any:
        before, outside = live.now, live.peak
        live.peak = before
        found = call(*args, **kwargs)
        works[name] = max(works.get(name, 0), live.peak - before)
        live.peak = max(outside, live.now)
        return found

    return watched


def _until_settled(call: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """The call, which raises Stop once what is held between calls has not grown for a while."""
    most = calls = quiet = 0

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal most, calls, quiet
        calls += 1
        quiet = 0 if live.now > most else quiet + 1
        most = max(most, live.now)
        if quiet > QUIET or calls > LONGEST:
            raise Stop
        return call(*args, **kwargs)

    return watched
