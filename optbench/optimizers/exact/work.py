"""What the tables of a dynamic program cost: operations on numbers, added up where they are done.

NumPy counts nothing itself. So each step of a recursion says what it did, and whoever runs the recursion collects it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Work:
    flops: float = 0.0


_COLLECTED: ContextVar[Work | None] = ContextVar("collected", default=None)


@contextmanager
def collected() -> Iterator[Work]:
    """Everything that is said to be done inside, added up."""
    work = Work()
    token = _COLLECTED.set(work)
    try:
        yield work
    finally:
        _COLLECTED.reset(token)


def did(flops: float) -> None:
    """So many additions, multiplications and comparisons of numbers were done; a sort compares n log2 n times."""
    work = _COLLECTED.get()
    if work is not None:
        work.flops += flops
