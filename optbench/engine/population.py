"""A population's losses as a few large products: blocks that fit the cache, in the layout (candidate, unit, sample).

torch.vmap alone takes the softmax of ten neighbouring numbers at a time and adds biases in passes of their own. Here a
linear layer and a cross-entropy lay their results out sample by sample, so that whatever follows runs along the
samples, which are many, and not along the units, which are few. Everything else is left to vmap. What runs again and
again in the same shapes is traced into its bare tensor operations, which saves vmap's bookkeeping (0.4 ms a block), the
memory that every operation would ask for anew, and whatever depends on the batch alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from inspect import signature
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from optbench.core.problem import Batch
from optbench.engine.compile.trace import Once, traced

CACHED = 2**18  # numbers in the widest activation of one block: 1 MiB in float32, about what a core's own cache holds
REPAYS = 200  # blocks of the same shape after which tracing is worth its 0.04 s (0.8 s the first time in a process)


Block = Callable[..., Tensor]  # points (P, D), the tensors of the batch, those of its `columns` -> losses (P,)


class Population:
    """The losses of many candidates of one network on a shared batch."""

    def __init__(self, loss: Callable[[Tensor, Batch], Tensor], labels: Sequence[bool] = ()) -> None:
        """loss: (D,) and a batch -> scalar. labels: which of a batch's tensors hold class indices and no "ignored"."""
        self._loss, self._labels = loss, labels
        self._widths: dict[Any, int] = {}
        self._seen: Counter[Any] = Counter()
        self._traced: dict[Any, Block] = {}
        self._columns = Once(lambda *batch: columns(batch))  # a full batch comes again in every step

    def losses(self, points: Tensor, batch: Batch, stochastic: bool = False) -> Tensor:
        """(P, D) -> (P,), without gradients. In a stochastic network every candidate draws the same numbers."""
        state = RandomState(points.device.type) if stochastic else None
        found = []
        with torch.no_grad():
            shared = self._columns(*batch)
            for block in self._blocks(points, batch):
                if state:
                    state.restore()
                found.append(self._run(block, batch, shared, trace=not stochastic))
        return torch.cat(found)

    def _run(self, block: Tensor, batch: Batch, shared: Batch, trace: bool) -> Tensor:
        key = (block.shape, *((tensor.shape, tensor.dtype) for tensor in batch))
        if key in self._traced:
            return self._traced[key](block, *batch, *shared)
        self._seen[key] += 1
        if trace and self._seen[key] == REPAYS:
            n = len(batch)
            self._traced[key] = traced(lambda x, *rest: self._block(x, rest[:n], rest[n:]), block, *batch, *shared)
        return self._block(block, batch, shared)

    def _block(self, block: Tensor, batch: Batch, shared: Batch) -> Tensor:
        with Columns(batch, shared, tuple(compress(batch, self._labels))):
            return vmap(lambda row: self._loss(row, batch), randomness="same")(block)

    def _blocks(self, points: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Parts of nearly equal size, as large as their activations stay in the cache."""
        key = tuple(tensor.shape for tensor in batch)
        if key not in self._widths:
            with torch.random.fork_rng(), Widest() as widest:
                self._loss(points[0], batch)
            self._widths[key] = widest.numbers
        most = max(1, CACHED // self._widths[key])
        count = -(-len(points) // most)
        return points.split(-(-len(points) // count))


class RandomState:
    """torch's global generator of one kind of device, as it is now."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self._state = torch.cuda.get_rng_state() if self._cuda else torch.get_rng_state()

    def restore(self) -> None:
        if self._cuda:
            torch.cuda.set_rng_state(self._state)
        else:
            torch.set_rng_state(self._state)


class Widest(TorchFunctionMode):
    """Inside it, `numbers` becomes the size of the largest tensor that an operation gives."""

    numbers = 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


_DEFAULTS = {name: p.default for name, p in signature(F.cross_entropy).parameters.items()}
_IGNORED = _DEFAULTS["ignore_index"]


def columns(batch: Batch) -> Batch:
    """For every table (N, I) of the batch its transpose over a row of ones, (I + 1, N)."""
    return tuple(torch.cat([t.mT, t.new_ones(1, len(t))]) for t in filter(_is_table, batch))


def _is_table(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.is_floating_point()


class Columns(TorchFunctionMode):
    """Inside it, F.linear and F.cross_entropy on (samples, units) keep their samples side by side in memory."""

    def __init__(self, batch: Batch = (), shared: Batch = (), labels: Batch = ()) -> None:
        """batch: tensors that every candidate shares; shared: their `columns`; labels: `known_labels`."""
        super().__init__()
        self._labels = labels
        self._shared = list(zip(filter(_is_table, batch), shared, strict=True))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and not kwargs and len(args) == 3 and args[0].ndim == 2 and args[2] is not None:
            return self._linear(*args)
        if func is F.cross_entropy and len(args) == 2 and _mean_over_samples(args, kwargs):
            return self._cross_entropy(*args)
        return func(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(N, I), (O, I), (O,) -> (N, O), stored (O, N)."""
        for table, tall in self._shared:
            if x is table:  # the bias rides along as the weight of a row of ones
                return (torch.cat([weight, bias[:, None]], 1) @ tall).mT
        return (weight @ x.mT).add_(bias[:, None]).mT

    def _cross_entropy(self, scores: Tensor, target: Tensor) -> Tensor:
        """(N, C), (N,) -> the mean of -log softmax(scores)[target] over the samples whose target is not -100."""
        # One pass where logsumexp makes six, and one product where a masked mean makes three.
        likely = F.log_softmax(scores.mT, 0)
        if any(target is known for known in self._labels):
            return -likely.gather(0, target[None]).mean()
        counted = (target != _IGNORED).to(scores.dtype)
        return -(likely.gather(0, target.clamp(min=0)[None])[0] @ (counted / counted.sum()))


def known_labels(batch: Batch) -> tuple[bool, ...]:
    """Which tensors are class indices, none of them the one that stands for "ignored"."""
    return tuple(tensor.dtype == torch.int64 and not bool((tensor == _IGNORED).any()) for tensor in batch)


def _mean_over_samples(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for one class index a sample, without weights or smoothing."""
    usual = all(name in _DEFAULTS and value == _DEFAULTS[name] for name, value in kwargs.items())
    return usual and args[0].ndim == 2 and args[1].ndim == 1 and not args[1].is_floating_point()
