"""The gradients of B networks at once: blocks that fit the cache, samples side by side, traced into bare operations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
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
from optbench.problem import Batch
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

    def __call__(self, points: Tensor, batch: Batch, draws: list[Tensor], shared: bool) -> tuple[Tensor, Tensor]:
        """(B, D) points -> losses (B,) and gradients (B, D).

        batch: (B, n, ...) tensors, or (n, ...) ones where `shared`. draws: (B, ...) numbers that a stochastic network
        is given, in the order in which it asks.
        """
        width = self._width(points, batch, draws, shared)
        if width >= len(points):
            return self._run(points, batch, draws, shared)
        losses, gradients = [], []
        for k in range(0, len(points), width):
            part = slice(k, k + width)
            mine = batch if shared else tuple(tensor[part] for tensor in batch)
            loss, gradient = self._run(points[part], mine, [numbers[part] for numbers in draws], shared)
            losses.append(loss)
            gradients.append(gradient)
        return torch.cat(losses), torch.cat(gradients)

    def _run(self, points: Tensor, batch: Batch, draws: list[Tensor], shared: bool) -> tuple[Tensor, Tensor]:
        key = (shared, points.shape, *((tensor.shape, tensor.dtype) for tensor in batch))
        call = self._traced.get(key)
        if call is None:
            call = partial(self._block, shared, len(batch))
            self._seen[key] += 1
            if self._seen[key] == REPAYS:
                began = perf_counter()
                call = traced(call, points, *batch, *draws)
                self._traced[key] = graphed(call, points, *batch, *draws) if points.is_cuda else call
                self.overhead += perf_counter() - began
        found = call(points, *batch, *draws)
        return found[points.numel() :], found[: points.numel()].view(points.shape)

    def _block(self, shared: bool, split: int, points: Tensor, *inputs: Tensor) -> Tensor:
        """All gradients and then all losses in one row; inputs: the batch, `split` tensors, and the draws."""

        def loss(row: Tensor, samples: Batch, numbers: Batch) -> Tensor:
            with Given(numbers):
                return self._loss(row, samples)

        batch, draws = inputs[:split], inputs[split:]
        with Columns((), ()), Channels():
            axes = (0, None if shared else 0, 0 if draws else None)
            gradient, value = vmap(grad_and_value(loss), in_dims=axes)(points, batch, draws)
        return torch.cat([gradient.flatten(), value])

    @property
    def at_once(self) -> int:
        """Networks in one block, as many as the widest seen so far leaves room for."""
        return max(1, CACHED // max(self._widest.values())) if self._widest else 0

    def _width(self, points: Tensor, batch: Batch, draws: list[Tensor], shared: bool) -> int:
        """Rows whose activations fit the cache together; on a GPU, all of them."""
        if points.is_cuda or len(points) == 1:
            return len(points)
        key = tuple(tensor.shape for tensor in batch)
        if key not in self._widest:
            first = batch if shared else tuple(tensor[0] for tensor in batch)
            with Widest() as widest, Given([numbers[0] for numbers in draws]), torch.no_grad():
                self._loss(points[0], first)
            self._widest[key] = widest.numbers
        most = max(1, CACHED // self._widest[key])
        return math.ceil(len(points) / math.ceil(len(points) / most))
