"""Problems of a few lines and an objective that remembers, for the tests of the optimizers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.objective import Objective, Stop
from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.engine.metered import metered_as


class Point(nn.Module):
    def __init__(self, dim: int, low: float, high: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.empty(dim, dtype=torch.float64).uniform_(low, high))

    def forward(self) -> Tensor:
        return self.x


@dataclass(frozen=True)
class Formula(Problem):
    """Any function of a (D,) tensor as a problem, its start uniform in a box."""

    formula: Callable[[Tensor], Tensor]
    dim: int = 10
    low: float = -3.0
    high: float = 7.0

    track = "function"
    loss_name = "formula"
    dtype = torch.float64
    start = 1.0
    best = Best(0.0, "optimum")

    def network(self) -> nn.Module:
        return Point(self.dim, self.low, self.high)

    def data(self) -> Splits:
        return Splits((torch.zeros(1, 0),))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return self.formula(net())


class Recording(Objective):
    """Keeps every population it was asked for, (B, P, D), and every answer, (B, P)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.points: list[Tensor] = []
        self.losses: list[Tensor] = []

    def value(self, x: Tensor) -> Tensor:
        self.points.append(x.clone())
        losses = super().value(x)
        self.losses.append(losses)
        return losses

    @property
    def history(self) -> Tensor:
        """(B, evaluations) losses in the order of asking."""
        return torch.cat(self.losses, 1)


def run(optimizer: Any, problem: Problem, passes: float, seeds: tuple[int, ...] = (0,)) -> Recording:
    """Train until the budget is spent or the optimizer is done."""
    f = metered_as(Recording, problem, seeds, passes)
    with suppress(Stop):
        optimizer.minimise(f)
    f.finish()
    return f


def sphere(x: Tensor) -> Tensor:
    return x.square().sum()


def rastrigin(x: Tensor) -> Tensor:
    return (10 + x.square() - 10 * torch.cos(2 * torch.pi * x)).sum()
