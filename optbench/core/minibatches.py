"""Minibatches: endless random permutations of the data, the same for every optimizer that has the same seed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from optbench.core.problem import Batch, generator


def take(batch: Batch, index: Tensor) -> Batch:
    """The rows named by an index of any shape."""
    rows = index.reshape(-1)  # index_select copies whole rows, tensor[index] takes six times as long
    return tuple(tensor.index_select(0, rows).view(*index.shape, *tensor.shape[1:]) for tensor in batch)


def batches(samples: int, size: int, seed: int) -> Iterator[Tensor]:
    """Endless minibatch indices, each a (size,) int64 tensor: random permutations of the data, end to end.

    Every sample is seen once an epoch, every batch has the same size (one may span two epochs), and the stream depends
    on the seed alone, so every optimizer sees the same batches.
    """
    for block in batch_blocks(samples, size, seed, 1):
        yield block[0]


def batch_blocks(samples: int, size: int, seed: int, steps: int) -> Iterator[Tensor]:
    """The stream of `batches`, so many steps at a time: (steps, size) tensors."""
    if not 1 <= size <= samples:
        raise ValueError(f"a batch of {size} from {samples} samples")
    stream = generator(seed, "batches")
    left = torch.empty(0, dtype=torch.int64)
    while True:
        missing = steps * size - len(left)
        left = torch.cat([left, *(torch.randperm(samples, generator=stream) for _ in range(-(-missing // samples)))])
        yield left[: steps * size].view(steps, size)
        left = left[steps * size :]
