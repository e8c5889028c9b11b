"""Settings of any gradient optimizer: gradients accumulated and clipped, points averaged.

Averages are those of torch.optim.swa_utils: exponential (Polyak & Juditsky 1992) or with equal weights from a share of
the budget on (Izmailov et al. 2018). A trial is scored at its average, and its average is its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from optbench.core.objective import Objective

Closure = Callable[[], Tensor]
_CLIP_EPS = 1e-6  # as torch.nn.utils.clip_grad_norm_ has it


@dataclass(frozen=True)
class Shaping:
    """What is done to gradients before a step, and to points after it. Raises ValueError for a value out of range."""

    clip_norm: float | None = None  # largest norm of a trial's whole gradient (Pascanu et al. 2013)
    clip_value: float | None = None  # largest absolute value of a number of it
    accumulate: int = 1  # minibatches whose gradients are averaged for one step, each paid for
    ema: float | None = None  # decay of the exponential average
    swa: float | None = None  # share of the budget after which points are averaged with equal weights

    def __post_init__(self) -> None:
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise ValueError(f"{name}={value!r} is no positive number: write {name}=1.0")
        if type(self.accumulate) is not int or self.accumulate < 1:
            raise ValueError(f"accumulate={self.accumulate!r} is no number of minibatches: write accumulate=4")
        if self.ema is not None and not (_is_number(self.ema) and 0 < self.ema < 1):
            raise ValueError(f"ema={self.ema!r} is no decay between 0 and 1: write ema=0.99")
        if self.swa is not None and not (_is_number(self.swa) and 0 <= self.swa < 1):
            raise ValueError(f"swa={self.swa!r} is no share of the budget in [0, 1): write swa=0.75")
        if self.ema is not None and self.swa is not None:
            raise ValueError("ema and swa are two averages, one can be scored: write ema=0.99 or swa=0.75")

    def __bool__(self) -> bool:
        return self != PLAIN

    @property
    def gradients(self) -> bool:
        """Whether gradients are changed before the optimizer sees them."""
        return self.clip_norm is not None or self.clip_value is not None or self.accumulate > 1


SHAPING = tuple(item.name for item in fields(Shaping))
PLAIN = Shaping()


class Shaped:
    """The training of some parameters as a shaping has it: `begin` a step, evaluate the `closure`, and `end` it."""

    def __init__(
        self,
        f: Objective,
        shaping: Shaping,
        parameters: list[nn.Parameter],
        closure: Closure,
        lane: int | None = None,
        rows: bool = False,
    ) -> None:
        """closure: leaves gradients in `.grad`. lane: that has these parameters to itself. rows: the first axis of the
        parameters is lanes.
        """
        self._f, self._shaping, self._parameters, self._lane, self._rows = f, shaping, parameters, lane, rows
        self._plain = closure
        self.closure: Closure = self._gradients if shaping.gradients else closure
        self._batches: list[Any] = []  # the minibatches of the step under way
        self._average: list[Tensor] = []
        self._averaged = torch.zeros((), dtype=torch.int64, device=f.device)  # points in the average
        if shaping.ema is not None:
            self._take_in = get_ema_multi_avg_fn(shaping.ema)
        elif shaping.swa is not None:
            self._take_in = get_swa_multi_avg_fn()
        if shaping.ema is not None or shaping.swa is not None:
            f.score_within(self._at_average)

    def begin(self) -> None:
        """Draw the minibatch of a step."""
        self._batches = [self._f.next_step(self._lane)]

    def end(self) -> None:
        """Take the point that the step has reached into the average."""
        shaping = self._shaping
        if shaping.ema is None and (shaping.swa is None or self._f.progress < shaping.swa):
            return
        points = [p.detach() for p in self._parameters]
        if self._average:
            self._take_in(self._average, points, self._averaged)
        else:
            self._average = [point.clone() for point in points]
        self._averaged += 1

    def _gradients(self) -> Tensor:
        """Evaluate the minibatches of the step, the same at every call, and leave the shaped gradient in `.grad`."""
        losses, total = [], list[Tensor | None]()
        for k in range(self._shaping.accumulate):
            if k == len(self._batches):
                self._batches.append(self._f.next_step(self._lane))
            elif len(self._batches) > 1:
                self._f.next_step(self._lane, again=self._batches[k])
            losses.append(self._plain())
            with torch.enable_grad():  # a gradient with a graph keeps it
                total = [
                    _sum(one, p.grad)
                    for one, p in zip(total or [None] * len(self._parameters), self._parameters, strict=True)
                ]
        for p, gradient in zip(self._parameters, total, strict=True):
            p.grad = None if gradient is None else gradient / len(losses) if len(losses) > 1 else gradient
        with torch.no_grad():
            self._clip([p.grad for p in self._parameters if p.grad is not None])
        return torch.stack(losses).mean(0)

    def _clip(self, gradients: list[Tensor]) -> None:
        if self._shaping.clip_value is not None:
            for gradient in gradients:
                gradient.clamp_(-self._shaping.clip_value, self._shaping.clip_value)
        if self._shaping.clip_norm is not None:
            parts = [g.flatten(1).norm(dim=1) if self._rows else g.norm() for g in gradients]
            whole = torch.stack(parts).norm(dim=0)
            shrink = (self._shaping.clip_norm / (whole + _CLIP_EPS)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(shrink.view(-1, *[1] * (gradient.ndim - 1)) if self._rows else shrink)

    @contextmanager
    def _at_average(self) -> Iterator[None]:
        if not self._average:
            yield
            return
        kept = [p.detach().clone() for p in self._parameters]
        with torch.no_grad():
            for p, point in zip(self._parameters, self._average, strict=True):
                p.copy_(point)
        try:
            yield
        finally:
            with torch.no_grad():
                for p, point in zip(self._parameters, kept, strict=True):
                    p.copy_(point)


def parameters_of(optimizer: Any) -> list[nn.Parameter]:
    """All parameters that the optimizer trains."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _sum(total: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return total
    return gradient.clone() if total is None else total + gradient


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
