"""A problem small enough to count by hand, and loops that run until the budget is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from optbench.core.objective import Objective, Stop
from optbench.core.problem import Best, Problem, Splits


@dataclass(frozen=True)
class Bowl(Problem):
    """A quadratic with dropout if asked: small enough to count by hand."""

    dropout: float = 0.0
    track: ClassVar[str] = "supervised"
    loss_name: ClassVar[str] = "mse"
    start: ClassVar[float] = 1.0
    best: ClassVar[Best] = Best(0.0, "bound")

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.dropout > 0

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(self.dropout), nn.Linear(4, 1))

    def data(self) -> Splits:
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(20, 3, generator=draw)
        return Splits((x, x.sum(1, keepdim=True)))

    def loss(self, net, batch):
        return F.mse_loss(net(batch[0]), batch[1])


def drain(f: Objective, step) -> None:
    with pytest.raises(Stop):
        while True:
            step()
    f.finish()


def train(f: Objective, optimizer: torch.optim.Optimizer) -> None:
    def step() -> None:
        f.next_step()
        optimizer.step(f.closure)

    drain(f, step)
