"""A straight line through the diabetes data: disease progression against body mass index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch import nn

from optbench.core.losses import L1, MSE
from optbench.core.problem import Best, Problem, Splits
from optbench.problems.shared import regression
from optbench.problems.sklearn_tables import sklearn_table


@dataclass(frozen=True)
class Line(Problem):
    """A line fit on one feature, in mean squared error; optimum in closed form."""

    track = "supervised"
    objective_loss = MSE
    passes = 100.0
    start = 1.20295
    best = Best(0.640104518746, "optimum")
    taus = (1e-2, 1e-3)  # a hundred random lines come closer than the coarser ones

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self) -> Splits:
        return _data()


@dataclass(frozen=True)
class LineL1(Line):
    """A line fit on one feature, in mean absolute error; optimum by linear programming."""

    objective_loss = L1
    start = 0.879473
    best = Best(0.660553355922, "optimum")


@cache
def _data() -> Splits:
    """309 / 67 / 66 people: body mass index (N, 1) and progression (N, 1), both standardised on train."""
    people, progression = sklearn_table("diabetes")
    return regression(people[:, [2]], progression)
