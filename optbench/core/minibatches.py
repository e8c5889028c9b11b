"""Minibatches: endless random permutations of the data, the same for every optimizer that has the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from optbench.core.problem import Batch, generator

# (samples, numbers (n, k) uniform in [0, 1) for each) -> the samples as a minibatch sees them, such as mirrored
Vary = Callable[[Batch, Tensor], Batch]
STEPS_AHEAD = 32  # steps whose batches are drawn, and moved to the device, in one go

# Samples (N, ...), and where lanes do not all see the same: the (B, n) index of those that each lane sees, else None.
LaneBatch = tuple[Batch, Tensor | None]


class Minibatches(Protocol):
    """What each evaluation sees."""

    full: bool  # every evaluation sees all samples

    def current(self) -> LaneBatch:
        """The minibatch of the step under way; a new one for every call where no step was begun."""

    def next_step(self, lane: int | None = None, again: Any = None) -> Any:
        """Begin a step: its evaluations share a minibatch. lane: only this lane goes on.

        Returns what names the minibatch. again: such a name, to see its minibatch once more.
        """


def minibatches(
    train: Batch, seeds: Sequence[int], batch: int | None, device: str, vary: Vary | None = None, numbers: int = 0
) -> Minibatches:
    """The minibatches of lanes with these seeds. batch: samples; None, or as many as there are: the full batch.

    vary: what every minibatch does to its samples, with so many numbers for each; then no batch is the full one.
    """
    if vary is not None:
        return VariedBatches(train, seeds, min(batch or len(train[0]), len(train[0])), device, vary, numbers)
    if batch is None or batch >= len(train[0]):
        return FullBatch(train)
    return SeededBatches(train, seeds, batch, device)


class FullBatch:
    """All samples at every evaluation."""

    full = True

    def __init__(self, train: Batch) -> None:
        self._all: LaneBatch = train, None

    def current(self) -> LaneBatch:
        return self._all

    def next_step(self, lane: int | None = None, again: Any = None) -> Any:
        """Every step sees the same."""


class SeededBatches:
    """Each lane's own stream of minibatches; lanes that all have one seed share theirs."""

    full = False

    def __init__(self, train: Batch, seeds: Sequence[int], size: int, device: str) -> None:
        samples = len(train[0])
        self._train, self._device, self._lanes = train, device, len(seeds)
        self._same_seed = len(set(seeds)) == 1
        self._blocks = [
            self._stream(samples, size, seed, STEPS_AHEAD) for seed in (seeds[:1] if self._same_seed else seeds)
        ]
        self._ahead: Iterator[Tensor] = iter(())  # indices of the next steps, already on the device
        one_by_one = [self._stream(samples, size, seed, 1) for seed in seeds]
        self._streams = [(block[0] for block in blocks) for blocks in one_by_one]  # of lanes that step on their own
        self._of_lane: dict[int, Tensor] = {}  # the indices that such a lane is at
        self._step: LaneBatch | None = None  # the minibatch of the step under way

    def current(self) -> LaneBatch:
        if self._step is None and self._of_lane:
            index = torch.stack([self._of_lane[lane] for lane in range(self._lanes)])
            self._step = self._batch_of(index.to(self._device))
        return self._step or self._draw()

    def next_step(self, lane: int | None = None, again: Any = None) -> Any:
        if lane is None:
            self._step = self._draw() if again is None else again
            return self._step
        self._of_lane[lane], self._step = next(self._streams[lane]) if again is None else again, None
        return self._of_lane[lane]

    def _stream(self, samples: int, size: int, seed: int, steps: int) -> Iterator[Tensor]:
        return batch_blocks(samples, size, seed, steps)

    def _draw(self) -> LaneBatch:
        index = next(self._ahead, None)
        if index is None:
            self._ahead = self._draw_ahead()
            index = next(self._ahead)
        return self._batch_of(index)

    def _batch_of(self, index: Tensor) -> LaneBatch:
        """Where all lanes see the same samples, those samples; else it is left to each lane to look them up."""
        if self._lanes == 1 or index.ndim == 1:
            return take(self._train, index.reshape(-1)), None
        return self._train, index

    def _draw_ahead(self) -> Iterator[Tensor]:
        """Indices of the next steps: (n,) where all lanes share a seed, else (B, n)."""
        block = torch.stack([next(stream) for stream in self._blocks], 1).to(self._device)  # (steps, B, n)
        return iter((block[:, 0] if self._same_seed else block).unbind())


class VariedBatches(SeededBatches):
    """Minibatches whose samples are varied, each by numbers of its own: other ones each time, the same for a seed.

    A minibatch is named by one number a sample, its index + N times what its variation is drawn from.
    """

    def __init__(self, train: Batch, seeds: Sequence[int], size: int, device: str, vary: Vary, numbers: int) -> None:
        self._vary, self._numbers = vary, numbers
        super().__init__(train, seeds, size, device)

    def _stream(self, samples: int, size: int, seed: int, steps: int) -> Iterator[Tensor]:
        drawn = generator(seed, "variation")
        for block in batch_blocks(samples, size, seed, steps):
            yield block + samples * torch.randint(2**31, block.shape, generator=drawn)

    def _batch_of(self, index: Tensor) -> LaneBatch:
        names, samples = index.reshape(-1), len(self._train[0])
        seen = self._vary(take(self._train, names % samples), uniform(names // samples, self._numbers))
        if self._lanes == 1 or index.ndim == 1:
            return seen, None
        return seen, torch.arange(len(names), device=names.device).view(index.shape)


def uniform(keys: Tensor, count: int) -> Tensor:
    """(n,) whole numbers -> (n, count) float32 in [0, 1), the same on every device: murmur3's last steps."""
    x = (keys[:, None] * count + torch.arange(count, device=keys.device)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
    return (x >> 8).to(torch.float32) / 2**24


def take(batch: Batch, index: Tensor) -> Batch:
    """The samples named by an index of any shape: tensors (*index.shape, ...)."""
    flat = index.reshape(-1)  # index_select copies whole samples, tensor[index] takes six times as long
    return tuple(tensor.index_select(0, flat).view(*index.shape, *tensor.shape[1:]) for tensor in batch)


def batches(samples: int, size: int, seed: int) -> Iterator[Tensor]:
    """Endless minibatch indices, each a (size,) int64 tensor: random permutations of the data, end to end.

    Every sample is seen once an epoch, every batch has the same size (one may span two epochs), and the stream depends
    on the seed alone, so every optimizer sees the same batches.
    """
    for block in batch_blocks(samples, size, seed, 1):
        yield block[0]


def batch_blocks(samples: int, size: int, seed: int, steps: int) -> Iterator[Tensor]:
    """The stream of `batches`, so many steps at a time: (steps, size) tensors. Raises ValueError for a wrong size."""
    if not 1 <= size <= samples:
        raise ValueError(f"a batch of {size} from {samples} samples")
    stream = generator(seed, "batches")
    left = torch.empty(0, dtype=torch.int64)
    while True:
        missing = steps * size - len(left)
        left = torch.cat([left, *(torch.randperm(samples, generator=stream) for _ in range(-(-missing // samples)))])
        yield left[: steps * size].view(steps, size)
        left = left[steps * size :]
