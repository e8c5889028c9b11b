"""A problem's data on a device, loaded once a process."""

from __future__ import annotations

from functools import lru_cache

from optbench.core.problem import Batch, Problem, Splits
from optbench.core.user_files import Stamp, stamps


def splits(problem: Problem, device: str) -> Splits:
    """The problem's data on the device."""
    return _splits(problem, device, stamps(problem.data_files))


@lru_cache(maxsize=16)
def _splits(problem: Problem, device: str, files: tuple[Stamp, ...]) -> Splits:
    """files: as they are now, so that others are read anew."""
    train, *others = problem.data()
    moved = [part and tuple(tensor.to(device) for tensor in part) for part in others]
    return Splits(tuple(tensor.to(device) for tensor in train), *moved)


def head(batch: Batch, samples: int) -> Batch:
    """The first samples of every tensor."""
    return tuple(tensor[:samples] for tensor in batch)
