"""A population's losses as a few large products: blocks that fit the cache, in the layout (candidate, unit, sample).

What runs again and again in the same shapes is compiled, which saves vmap's bookkeeping (0.4 ms a block), the memory
that every operation would ask for anew, and whatever depends on the batch alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from optbench.core.problem import Batch
from optbench.engine.blocks import block_size, widest_activation
from optbench.engine.compile import compile_step
from optbench.engine.once import Once
from optbench.engine.randomness import RandomState
from optbench.engine.sample_layout import SampleLayout, columns

MIN_BLOCKS = 200  # of one shape after which compiling is worth its 0.04 s (0.8 s the first time in a process)

Block = Callable[..., Tensor]  # points (P, D), the tensors of the batch, those of its `columns` -> losses (P,)


class Population:
    """The losses of many candidates of one network on a shared batch."""

    def __init__(
        self,
        loss: Callable[[Tensor, Batch], Tensor],
        labels: Sequence[bool] = (),
        eager: bool = False,
        pooling: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """loss: (D,) and a batch -> scalar. labels: which of a batch's tensors hold class indices and no "ignored".

        eager: nothing is compiled. pooling: how the network's forward pools without gradients, see `engine.pooling`.
        """
        self._loss, self._labels, self._eager, self._pooling = loss, labels, eager, pooling
        self._widest: dict[Any, int] = {}  # numbers in the widest activation, by the shapes of a batch
        self._count: Counter[Any] = Counter()  # blocks so far, by shapes
        self._compiled: dict[Any, Block] = {}
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
                found.append(self._run(block, batch, shared, stochastic))
        return torch.cat(found)

    def _run(self, block: Tensor, batch: Batch, shared: Batch, stochastic: bool) -> Tensor:
        key = (block.shape, *((tensor.shape, tensor.dtype) for tensor in batch))
        if key in self._compiled:
            return self._compiled[key](block, *batch, *shared)
        self._count[key] += 1
        if not (stochastic or self._eager) and self._count[key] == MIN_BLOCKS:
            n = len(batch)
            self._compiled[key] = compile_step(
                lambda x, *rest: self._block(x, rest[:n], rest[n:]), (block,), (*batch, *shared)
            )
        return self._block(block, batch, shared)

    def _block(self, block: Tensor, batch: Batch, shared: Batch) -> Tensor:
        with SampleLayout(batch, shared, tuple(compress(batch, self._labels))), self._pooling():
            return vmap(lambda row: self._loss(row, batch), randomness="same")(block)

    def _blocks(self, points: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        """Parts of nearly equal size, as large as their activations stay in the cache."""
        key = tuple(tensor.shape for tensor in batch)
        if key not in self._widest:
            with torch.random.fork_rng():
                self._widest[key] = widest_activation(lambda: self._loss(points[0], batch))
        return points.split(block_size(len(points), self._widest[key]))
