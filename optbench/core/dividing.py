"""Which division of its data a problem is asked for: number 0 is the one it states, every other number another draw.

Whoever divides by chance asks here, see `core.problem.split`. So a problem's author writes nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Asked:
    """The division that is asked for, and how often data were divided by chance meanwhile."""

    number: int
    times: int = 0


_asked: ContextVar[Asked | None] = ContextVar("division", default=None)


@contextmanager
def dividing(number: int) -> Iterator[Asked]:
    """Inside it, data are divided by the draw of this number."""
    before = _asked.set(asked := Asked(number))
    try:
        yield asked
    finally:
        _asked.reset(before)


def number() -> int:
    """The division that is asked for, 0 where nobody asks for another."""
    asked = _asked.get()
    return asked.number if asked else 0


def purpose() -> str:
    """What the stream of random numbers that divides is for; whoever asks draws from it."""
    if (asked := _asked.get()) is None:
        return "split"
    asked.times += 1
    return f"split {asked.number}" if asked.number else "split"
