"""Any torch.optim.Optimizer class as it stands: lanes are rows, schedules follow the share of the budget spent."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn

from optbench.objective import Objective

SCHEDULES = ("constant", "step", "cosine")


def factor(schedule: str, warmup: float, progress: float) -> float:
    """What the learning rate is multiplied by after a share `progress` of the budget.

    warmup: the share over which the rate rises linearly from 0. Then constant; "step" divides by 10 after 1/2 and
    again after 3/4 of what is left (He et al. 2016); "cosine" falls to 0 (Loshchilov & Hutter 2017).
    """
    if progress < warmup:
        return progress / warmup
    after = (progress - warmup) / (1 - warmup)
    if schedule == "step":
        return 0.1 ** ((after >= 0.5) + (after >= 0.75))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * after))
    return 1.0


@dataclass(frozen=True)
class TorchOptim:
    """Adapter for one class with its settings. Raises ValueError for a setting that the class refuses."""

    cls: type[torch.optim.Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)  # arguments of the class
    schedule: str = "constant"  # of the learning rate: constant, step or cosine
    warmup: float = 0.0  # share of the budget over which the learning rate rises from 0

    needs: ClassVar[str] = "grad"
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule={self.schedule!r} is none of {', '.join(SCHEDULES)}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} is no share of the budget in [0, 1)")
        self._on([nn.Parameter(torch.zeros(2, 2))])  # the class checks its own ranges

    @property
    def lanes(self) -> bool:
        """True where the class works element by element, found out by trying it."""
        cls: Any = self.cls  # hashable, whatever its stub says
        return elementwise(cls, tuple(sorted(self.settings.items())))

    def minimise(self, f: Objective) -> None:
        optimizer = self._on(f.parameters())
        rates = [group["lr"] for group in optimizer.param_groups] if "lr" in optimizer.defaults else []
        scheduled = bool(rates) and (self.schedule != "constant" or self.warmup > 0)
        while True:
            if scheduled:
                now = factor(self.schedule, self.warmup, f.progress)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * now
            f.next_step()  # the closures of one step share a minibatch
            optimizer.step(f.closure)  # type: ignore[arg-type]  # annotated as float, called with a tensor

    def _on(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return self.cls(parameters, **self.settings)


def arguments(cls: type[torch.optim.Optimizer]) -> list[str]:
    """Names of the settings that the class takes."""
    return [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "params", "kwargs")]


@cache
def elementwise(cls: Any, settings: tuple[tuple[str, Any], ...]) -> bool:
    """Whether rows of one matrix are trained as if each were alone: six steps down random bowls, both ways."""
    draw = torch.Generator().manual_seed(0)
    start, centre = torch.randn(2, 3, 8, generator=draw)
    stiffness = torch.tensor([0.01, 1.0, 100.0])[:, None] * (1 + torch.rand(3, 8, generator=draw))

    def train(rows: slice) -> torch.Tensor:
        p = nn.Parameter(start[rows].clone())
        optimizer = cls([p], **dict(settings))

        def closure() -> float:
            away = p.detach() - centre[rows]
            p.grad = stiffness[rows] * away
            return float((stiffness[rows] * away**2).sum() / 2)

        for _ in range(6):
            optimizer.step(closure)
        return p.detach()

    try:
        together = train(slice(None))
        alone = torch.cat([train(slice(k, k + 1)) for k in range(3)])
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False  # it refuses one of the shapes: such a class mixes elements
    return not torch.equal(together, start) and torch.allclose(together, alone, rtol=1e-5, atol=1e-7)
