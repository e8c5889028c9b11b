"""The gradients of B networks at once: blocks that fit the cache, samples side by side, compiled where it repays."""

from __future__ import annotations

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
from optbench.engine.blocks import MAX_CACHED, block_size, widest_activation
from optbench.engine.channel_layout import ChannelLayout
from optbench.engine.compile import Uncaptured, compile_step, shared
from optbench.engine.randomness import Given
from optbench.engine.sample_layout import SampleLayout

MIN_STEPS = 50  # from which on compiling a step is worth its 0.2 s (0.7 s the first time in a process)

Loss = Callable[[Tensor, Batch], Tensor]  # (D,) and a batch -> scalar
_RESULTS = slice(1, 3)  # of a step's inputs: the memory that it fills with gradients and losses


class Gradients:
    """Losses and gradients of B points, each on a batch of its own or all on one."""

    def __init__(
        self,
        loss: Loss,
        labels: Sequence[bool],
        compiles: bool = False,
        with_state: Callable[..., Any] | None = None,
        kind: Hashable = None,
    ) -> None:
        """labels: which of a batch's tensors hold class indices and no "ignored". compiles: see `MIN_STEPS`.

        kind: all that the loss depends on beside its inputs; None where nobody else has one of its kind.
        with_state: (D,), {buffer: its value} and a batch -> scalar, {buffer: its value afterwards}.
        """
        self._loss_and_state, self._kind = with_state, kind
        self.overhead = 0.0  # seconds that compiling took: it is no part of training
        self._loss, self._labels, self._compiles = loss, labels, compiles
        self._points: Tensor | None = None  # the latest ones, and their blocks
        self._blocks: tuple[Tensor, ...] = ()
        self._widest: dict[int, int] = {}  # numbers in the widest activation, by samples
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, D) points -> losses (B,) and gradients (B, D).

        batch: (N, ...) tensors. index: (B, n) samples that each network sees, or None where each sees them all.
        draws: (B, ...) numbers that a stochastic network is given, in the order in which it asks.
        """
        own = draws if index is None else [index, *draws]  # what has a row for every network
        gradients, losses = torch.empty_like(points), points.new_empty(len(points))
        size = self._block_size(points, batch, draws, index)
        if points is not self._points or len(self._blocks[0]) != size:
            self._points, self._blocks = points, points.split(size)
        indexed = index is not None
        kind = indexed, *[tensor.shape for tensor in (*own, *batch)]
        done = 0
        for block in self._blocks:
            lanes = slice(done, done + len(block))
            mine = (block, gradients[lanes], losses[lanes], *(tensor[lanes] for tensor in own))
            self._run((block.shape, *kind), indexed, mine, batch)
            done = lanes.stop
        return losses, gradients

    def with_state(
        self,
        points: Tensor,
        state: dict[str, Tensor],
        batch: Batch,
        draws: list[Tensor],
        index: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same for networks with buffers: state, {name: (B, ...)}, is brought up to date. Nothing is compiled."""
        if self._loss_and_state is None:
            raise ValueError("a loss with state is needed for networks with buffers")
        whole: Any = self._loss_and_state
        gradients, losses = torch.empty_like(points), points.new_empty(len(points))
        size = self._block_size(points, batch, draws, index)

        def loss(row: Tensor, own: dict[str, Tensor], samples: Batch, numbers: Batch) -> Any:
            with Given(numbers), SampleLayout():
                return whole(row, own, samples)

        axes = (0, 0, None if index is None else 0, 0 if draws else None)
        call = vmap(grad_and_value(loss, has_aux=True), in_dims=axes)
        for lanes in torch.arange(len(points)).split(size):
            part = slice(int(lanes[0]), int(lanes[-1]) + 1)
            mine = batch if index is None else take(batch, index[part])
            own = {name: value[part] for name, value in state.items()}
            with ChannelLayout():
                gradient, (value, after) = call(points[part], own, mine, tuple(numbers[part] for numbers in draws))
            gradients[part], losses[part] = gradient, value
            for name, values in after.items():
                state[name][part] = values
        return losses, gradients

    @property
    def uncaptured(self) -> str:
        """Why a step could not be captured as a CUDA graph, if one could not."""
        return next((call.reason for call in self._compiled.values() if isinstance(call, Uncaptured)), "")

    @property
    def at_once(self) -> int:
        """Networks in one block, as many as the widest seen so far leaves space for; 0 before the first."""
        return max(1, MAX_CACHED // max(self._widest.values())) if self._widest else 0

    def step(self, indexed: bool, split: int) -> Callable[..., None]:
        """A block's gradients as a function of tensors alone: points (B, D), memory for their gradients and losses, the
        index (B, n) where `indexed`, the draws (B, ...), and the batch, `split` tensors.
        """
        return partial(self._step, indexed, split)

    def _run(self, key: Hashable, indexed: bool, mine: Batch, batch: Batch) -> None:
        """mine: points, memory for their gradients and losses, and what else has a row for every network."""
        call = self._compiled.get(key)
        if call is None:
            call = self.step(indexed, len(batch))
            if self._compiles:
                began = perf_counter()
                make = partial(compile_step, call, mine, batch, results=_RESULTS)
                # A graph on a GPU keeps memory, so it ends with its model.
                alone = self._kind is None or mine[0].is_cuda
                call = self._compiled[key] = make() if alone else shared(("gradients", self._kind, key), make)
                self.overhead += perf_counter() - began
        call(*mine, *batch)

    def _step(
        self, indexed: bool, split: int, points: Tensor, gradients: Tensor, losses: Tensor, *rest: Tensor
    ) -> None:
        def loss(row: Tensor, samples: Batch, numbers: Batch) -> Tensor:
            with Given(numbers), SampleLayout(labels=tuple(compress(samples, self._labels))):
                return self._loss(row, samples)

        own, batch = rest[: len(rest) - split], rest[len(rest) - split :]
        draws = own[indexed:]
        if indexed:
            batch = take(batch, own[0])
        with ChannelLayout():
            axes = (0, 0 if indexed else None, 0 if draws else None)
            gradient, value = vmap(grad_and_value(loss), in_dims=axes)(points, batch, draws)
        gradients.copy_(gradient)
        losses.copy_(value)

    def _block_size(self, points: Tensor, batch: Batch, draws: list[Tensor], index: Tensor | None) -> int:
        """Networks whose activations fit the cache together; on a GPU, all of them."""
        if points.is_cuda or len(points) == 1:
            return len(points)
        samples = len(batch[0]) if index is None else index.shape[1]
        if samples not in self._widest:
            seen = batch if index is None else take(batch, index[0])
            with Given([numbers[0] for numbers in draws]), torch.no_grad():
                self._widest[samples] = widest_activation(lambda: self._loss(points[0], seen))
        return block_size(len(points), self._widest[samples])
