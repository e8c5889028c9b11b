"""The gradients of B networks at once: blocks that fit the cache, samples side by side, traced into bare operations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from optbench.channels import Channels
from optbench.draws import Given
from optbench.graphs import graphed
from optbench.population import CACHED, Columns, Widest
from optbench.problem import Batch, gather
from optbench.tracing import traced

REPAYS = 25  # calls in the same shapes after which tracing is worth its 0.2 s (0.7 s the first time in a process)

Loss = Callable[[Tensor, Batch], Tensor]  # (D,) and a batch -> scalar


class Gradients:
    """Losses and gradients of rows of parameters, each on a batch of its own or all on one.

    `overhead` is the time in seconds that tracing took: it is no part of training.
    """

    def __init__(self, loss: Loss) -> None:
        self.overhead = 0.0
        self._loss = loss
        self._widest: dict[Any, int] = {}
        self._seen: Counter[Any] = Counter()
        self._traced: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, D) points -> losses (B,) and gradients (B, D).

        batch: (N, ...) tensors. index: (B, n) rows of them that each network sees, or None where each sees them all.
        draws: (B, ...) numbers that a stochastic network is given, in the order in which it asks.
        """
        own = [*draws] if index is None else [index, *draws]  # what has a row for every network
        gradients, losses = torch.empty_like(points), points.new_empty(len(points))
        width = self._width(points, batch, draws, index)
        for k in range(0, len(points), width):
            part = slice(k, k + width)
            mine = (tensor[part] for tensor in (gradients, losses, points, *own))
            self._run(len(batch), index is not None, *mine, *batch)
        return losses, gradients

    def _run(self, split: int, indexed: bool, *inputs: Tensor) -> None:
        """inputs: memory for gradients and losses, the points, their index and draws, and the batch, `split` tensors."""
        key = indexed, *((tensor.shape, tensor.dtype) for tensor in inputs)
        call = self._traced.get(key)
        if call is None:
            call = partial(self._block, split, indexed)
            self._seen[key] += 1
            if self._seen[key] == REPAYS:
                began = perf_counter()
                call = self._traced[key] = _fast(call, inputs, split)
                self.overhead += perf_counter() - began
        call(*inputs)

    def _block(self, split: int, indexed: bool, gradients: Tensor, losses: Tensor, points: Tensor, *rest: Tensor) -> None:
        def loss(row: Tensor, samples: Batch, numbers: Batch) -> Tensor:
            with Given(numbers):
                return self._loss(row, samples)

        own, batch = rest[: len(rest) - split], rest[len(rest) - split :]
        index, draws = own[:indexed], own[indexed:]
        if indexed:
            batch = gather(batch, index[0])
        with Columns((), ()), Channels():
            axes = (0, 0 if indexed else None, 0 if draws else None)
            gradient, value = vmap(grad_and_value(loss), in_dims=axes)(points, batch, draws)
        gradients.copy_(gradient)
        losses.copy_(value)

    @property
    def at_once(self) -> int:
        """Networks in one block, as many as the widest seen so far leaves room for."""
        return max(1, CACHED // max(self._widest.values())) if self._widest else 0

    def _width(self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None) -> int:
        """Rows whose activations fit the cache together; on a GPU, all of them."""
        if points.is_cuda or len(points) == 1:
            return len(points)
        samples = len(batch[0]) if index is None else index.shape[1]
        if samples not in self._widest:
            with Widest() as widest, Given([numbers[0] for numbers in draws]), torch.no_grad():
                self._loss(points[0], batch if index is None else gather(batch, index[0]))
            self._widest[samples] = widest.numbers
        most = max(1, CACHED // self._widest[samples])
        return math.ceil(len(points) / math.ceil(len(points) / most))


def _fast(call: Callable[..., None], inputs: Sequence[Tensor], split: int) -> Callable[..., None]:
    """The call for inputs of these shapes, traced; on a GPU, captured as a graph too."""
    if inputs[0].is_cuda:
        return graphed(traced(call, *inputs, varies=len(inputs)), *inputs)
    return traced(call, *inputs, varies=len(inputs) - split)
