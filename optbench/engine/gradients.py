"""The gradients of B networks at once: blocks that fit the cache, samples side by side, traced into bare operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from itertools import compress
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from optbench.core.minibatches import take
from optbench.core.problem import Batch
from optbench.engine.channels import Channels
from optbench.engine.compile.cuda_graph import graphed
from optbench.engine.compile.trace import traced
from optbench.engine.population import CACHED, Columns, Widest
from optbench.engine.randomness import Given

REPAYS = 50  # steps from which on tracing is worth its 0.2 s (0.7 s the first time in a process)

Loss = Callable[[Tensor, Batch], Tensor]  # (D,) and a batch -> scalar


class Gradients:
    """Losses and gradients of rows of parameters, each on a batch of its own or all on one.

    `overhead` is the time in seconds that tracing took: it is no part of training.
    """

    def __init__(self, loss: Loss, labels: Sequence[bool]) -> None:
        """labels: which of a batch's tensors hold class indices and no "ignored"."""
        self.overhead = 0.0
        self._loss, self._labels = loss, labels
        self._points: Tensor | None = None  # the latest ones, and their blocks
        self._parts: tuple[Tensor, ...] = ()
        self._widest: dict[int, int] = {}  # numbers in the widest activation, by samples
        self._traced: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None = None, trace: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, D) points -> losses (B,) and gradients (B, D).

        batch: (N, ...) tensors. index: (B, n) rows of them that each network sees, or None where each sees them all.
        draws: (B, ...) numbers that a stochastic network is given, in the order in which it asks. trace: see `REPAYS`.
        """
        own = draws if index is None else [index, *draws]  # what has a row for every network
        gradients, losses = torch.empty_like(points), points.new_empty(len(points))
        width = self._width(points, batch, draws, index)
        if points is not self._points or len(self._parts[0]) != width:
            self._points, self._parts = points, points.split(width)
        indexed = index is not None
        kind = indexed, *[tensor.shape for tensor in (*own, *batch)]
        done = 0
        for part in self._parts:
            rows = slice(done, done + len(part))
            mine = (part, gradients[rows], losses[rows], *(tensor[rows] for tensor in own))
            self._run((part.shape, *kind), indexed, mine, batch, trace)
            done = rows.stop
        return losses, gradients

    def _run(self, key: Hashable, indexed: bool, mine: Batch, batch: Batch, trace: bool) -> None:
        """mine: points, memory for their gradients and losses, and what else has a row for every network."""
        call = self._traced.get(key)
        if call is None:
            call = partial(self._block, indexed, len(batch))
            if trace:
                began = perf_counter()
                call = self._traced[key] = _fast(call, mine, batch)
                self.overhead += perf_counter() - began
        call(*mine, *batch)

    def _block(
        self, indexed: bool, split: int, points: Tensor, gradients: Tensor, losses: Tensor, *rest: Tensor
    ) -> None:
        """rest: the rows that each network sees, where `indexed`, the draws, and the batch, `split` tensors."""

        def loss(row: Tensor, samples: Batch, numbers: Batch) -> Tensor:
            with Given(numbers), Columns(labels=tuple(compress(samples, self._labels))):
                return self._loss(row, samples)

        own, batch = rest[: len(rest) - split], rest[len(rest) - split :]
        draws = own[indexed:]
        if indexed:
            batch = take(batch, own[0])
        with Channels():
            axes = (0, 0 if indexed else None, 0 if draws else None)
            gradient, value = vmap(grad_and_value(loss), in_dims=axes)(points, batch, draws)
        gradients.copy_(gradient)
        losses.copy_(value)

    @property
    def at_once(self) -> int:
        """Networks in one block, as many as the widest seen so far leaves room for."""
        return max(1, CACHED // max(self._widest.values())) if self._widest else 0

    def _width(self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None) -> int:
        """BatchedModel whose activations fit the cache together; on a GPU, all of them."""
        if points.is_cuda or len(points) == 1:
            return len(points)
        samples = len(batch[0]) if index is None else index.shape[1]
        if samples not in self._widest:
            with Widest() as widest, Given([numbers[0] for numbers in draws]), torch.no_grad():
                self._loss(points[0], batch if index is None else take(batch, index[0]))
            self._widest[samples] = widest.numbers
        most = max(1, CACHED // self._widest[samples])
        return math.ceil(len(points) / math.ceil(len(points) / most))


def _fast(call: Callable[..., None], mine: Batch, batch: Batch) -> Callable[..., None]:
    """The call for inputs of these shapes, traced; on a GPU, captured as a graph too."""
    return captured(call, mine, batch) if mine[0].is_cuda else traced(call, *mine, *batch, varies=len(mine))


def captured(call: Callable[..., None], mine: Batch, batch: Batch) -> Callable[..., None]:
    """As a CUDA graph. What depends on the batch alone is part of it: a graph cannot know that a batch is another."""
    whole = traced(call, *mine, *batch, varies=len(mine) + len(batch))
    return graphed(whole, *mine, *batch, results=slice(1, 3), steady=len(batch))
