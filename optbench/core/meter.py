"""What a lane group may spend and has spent: counts, the budget, the clock, and the end of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from time import perf_counter
from typing import NamedTuple, NoReturn

import torch


class Stop(BaseException):
    """The budget is spent. Not an Exception, so that no `except Exception` on the way swallows it."""


class Costs(NamedTuple):
    """What one lane pays. FLOPs; for a function, evaluations."""

    samples: int  # in the training set
    one_pass: int  # a forward pass over the training set: one pass of the budget
    batch: int  # samples in a minibatch
    forward: int  # a forward pass on a minibatch
    backward: int  # a backward pass on a minibatch

    @property
    def gradient(self) -> int:
        """A forward and a backward pass on a minibatch."""
        return self.forward + self.backward

    def limit(self, passes: float) -> int:
        """The budget `passes` in FLOPs."""
        return round(passes * self.one_pass)

    def gradients(self, passes: float) -> int:
        """How many gradients on a minibatch the budget `passes` pays for."""
        return self.limit(passes) // self.gradient

    def of(self, forward: int, backward: int) -> int:
        """What so many samples forward and so many backward cost."""
        return round(self.one_pass / self.samples * (forward + self.backward / self.forward * backward))


class Spent(NamedTuple):
    """What one lane has spent so far; all lanes of a group spend alike, but for their own work."""

    forward: int  # samples that went through a forward pass
    backward: int  # samples that went through a backward pass
    evaluations: int  # points whose loss was asked for
    flops: int
    passes: float  # the same in forward passes over the training set
    seconds: float  # on the optimizer's own clock: scoring and compiling excluded
    warmup: float  # seconds that compiling took
    refused: int  # calls after the end: an optimizer that goes on has swallowed Stop
    ended: bool = False  # the budget did not cover what was asked for, so Stop was raised
    own_flops: tuple[int, ...] = ()  # of the optimizer itself, between its calls, of each lane
    own_seconds: float = 0.0  # of the group, on the optimizer's clock, without the problem's
    state_bytes: tuple[int, ...] = ()  # that the optimizer holds in tensors of its own, of each lane
    products: int = 0  # samples of `backward` that went through a Hessian-vector product, not a plain backward pass
    product_flops: int = 0  # of `flops`, theirs


class Meter:
    """Counts come from shapes, so metering needs no synchronisation with the device.

    More than ten public methods, for counts, budget and clock must end together: apart, one could be missed.
    """

    def __init__(self, passes: float, costs: Costs, device: str = "cpu", time: float | None = None) -> None:
        """passes: the budget, in forward passes over the training set. time: the same in seconds of its own clock."""
        self.time = time
        self.costs, self.limit = costs, costs.limit(passes)
        self.calls = self.units = 0  # charged calls and FLOPs so far
        self.ended = False
        self._device, self._owner = device, (os.getpid(), get_ident())
        self._forward = self._backward = self._evaluations = self._refused = 0
        self._products = self._product_flops = 0
        self.warmup = 0.0  # seconds taken off the clock
        self._seconds = 0.0  # until the clock was stopped last
        self._since: float | None = None  # when it was started last; None while it stands

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.time is not None:
            return min(1.0, self.elapsed / self.time)
        return min(1.0, self.units / self.limit) if self.limit else 1.0

    @property
    def elapsed(self) -> float:
        """Seconds on its own clock."""
        return self._seconds + (0.0 if self._since is None else perf_counter() - self._since)

    @property
    def mark(self) -> int:
        """What is spent of the budget, in whole units of it: FLOPs, or microseconds."""
        return self.units if self.time is None else int(1e6 * self.elapsed)

    @property
    def spent(self) -> Spent:
        """A snapshot, which other threads may ask for too."""
        since = self._since
        seconds = self._seconds + (0.0 if since is None else perf_counter() - since)
        passes = self.units / self.costs.one_pass
        counts = self._forward, self._backward, self._evaluations, self.units
        return Spent(
            *counts,
            passes,
            seconds,
            self.warmup,
            self._refused,
            self.ended,
            products=self._products,
            product_flops=self._product_flops,
        )

    def start_clock(self) -> None:
        """Let the clock run from now on: what came before is no training."""
        self._since = perf_counter()

    def enter(self) -> None:
        """Every call that costs begins here. Raises Stop after the end, RuntimeError in another thread or process."""
        if self._owner != (os.getpid(), get_ident()):
            raise RuntimeError("an objective answers its own process and thread alone: others would not be counted")
        if self.ended:
            self._refused += 1
            raise Stop
        if self.time is not None and self.elapsed >= self.time:
            self.stop()

    def affordable(self, cost: int) -> int:
        """How often the rest of the budget pays this cost."""
        return (self.limit - self.units) // cost

    def afford(self, cost: int) -> None:
        """End the run and raise Stop where the rest of the budget does not pay this cost."""
        if self.units + cost > self.limit:
            self.stop()

    def spend(self, forward: int, backward: int, units: int, evaluations: int) -> None:
        """Count a call: samples forward and backward, FLOPs, points."""
        self._forward += forward
        self._backward += backward
        self.units += units
        self._evaluations += evaluations
        self.calls += 1

    def spend_product(self, samples: int, units: int) -> None:
        """Count a Hessian-vector product: samples that went backward once more, FLOPs."""
        self._backward += samples
        self._products += samples
        self._product_flops += units
        self.units += units

    def exclude(self, seconds: float) -> None:
        """Take seconds that compiling took off the clock."""
        self.warmup += seconds
        self.take_off(seconds)

    def take_off(self, seconds: float) -> None:
        """Let the clock show so many seconds less."""
        self._seconds -= seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the clock stand still."""
        self._stop_clock()
        try:
            yield
        finally:
            self.start_clock()

    def end(self) -> None:
        """Stop the clock; every later call is refused. Calling it twice is harmless."""
        if not self.ended:
            self._stop_clock()
            self.ended = True

    def stop(self) -> NoReturn:
        """End the run and raise Stop."""
        self.end()
        raise Stop

    def _stop_clock(self) -> None:
        if self._device == "cuda":  # so that the clock covers what was asked of it; at checkpoints and nowhere else
            torch.cuda.synchronize()
        if self._since is not None:
            self._seconds += perf_counter() - self._since
            self._since = None
