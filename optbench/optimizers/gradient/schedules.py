"""Learning-rate schedules that follow the share of the budget that is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SCHEDULES = ("constant", "step", "cosine")


@dataclass(frozen=True)
class Schedule:
    """What a learning rate is multiplied by. Raises ValueError for an unknown name and for a warm-up outside [0, 1).

    After the warm-up: constant; "step" divides by 10 after 1/2 and again after 3/4 of what is left (He et al. 2016);
    "cosine" falls to 0 (Loshchilov & Hutter 2017).
    """

    name: str = "constant"
    warmup: float = 0.0  # share of the budget over which the rate rises linearly from 0

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise ValueError(f"schedule={self.name!r} is none of {', '.join(SCHEDULES)}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} is no share of the budget in [0, 1)")

    @property
    def moves(self) -> bool:
        """Whether the factor is ever anything but 1."""
        return self.name != "constant" or self.warmup > 0

    def factor(self, progress: float) -> float:
        """The factor after a share `progress` of the budget, 0 to 1."""
        if progress < self.warmup:
            return progress / self.warmup
        after = (progress - self.warmup) / (1 - self.warmup)
        if self.name == "step":
            return 0.1 ** ((after >= 0.5) + (after >= 0.75))
        if self.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * after))
        return 1.0


class Rates:
    """The learning rates of an optimizer's param groups as their schedules have it."""

    def __init__(self, optimizer: torch.optim.Optimizer, schedules: Sequence[Schedule]) -> None:
        """schedules: one a param group."""
        self._groups = [
            (group, group["lr"], schedule)
            for group, schedule in zip(optimizer.param_groups, schedules, strict=True)
            if schedule.moves and "lr" in group
        ]

    def follow(self, progress: float) -> None:
        """Set the rates for a share `progress` of the budget."""
        for group, rate, schedule in self._groups:
            group["lr"] = rate * schedule.factor(progress)
