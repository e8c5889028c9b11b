"""A straight line through the diabetes data: disease progression against body mass index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.shared import regression


@dataclass(frozen=True)
class Line(Problem):
    """A line fit on one feature, in mean squared error; optimum in closed form."""

    track = "supervised"
    loss_name = "mse"
    passes = 100.0
    start = 1.20295
    best = Best(0.640104518746, "optimum")
    taus = (1e-2, 1e-3)  # a hundred random lines come closer than the coarser ones

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self) -> Splits:
        return _data()

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.mse_loss(net(x), y)


@dataclass(frozen=True)
class LineL1(Line):
    """A line fit on one feature, in mean absolute error; optimum by linear programming."""

    loss_name = "l1"
    start = 0.879473
    best = Best(0.660553355922, "optimum")

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.l1_loss(net(x), y)


@cache
def _data() -> Splits:
    """309 / 67 / 66 people: body mass index (N, 1) and progression (N, 1), both standardised on train."""
    table = load_diabetes(scaled=False)
    return regression(table.data[:, [2]], table.target)
