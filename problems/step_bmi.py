"""Disease progression against body mass index, fitted by K hard steps: the optimum over all real weights is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from optbench.core.layers import Step
from optbench.core.losses import CROSS_ENTROPY, L1
from optbench.core.problem import Best, Problem, Splits
from optbench.problems.sklearn_tables import sklearn_table

KS = (2, 4, 8, 16)  # for which the optimum is stated
LEAST_L1 = (0.664109813050989, 0.635170325975461, 0.617483451640976, 0.586516731460666)
LEAST_ENTROPY = (0.946350247123701, 0.919908057594814, 0.890128582706748, 0.843628327457166)


@dataclass(frozen=True)
class StepBmi(Problem):
    """1-K-1 network of hard steps on the diabetes data, in mean absolute error.

    All 442 people are the training data: the index takes 163 values only, so a held-out person would often be one of
    the training set. Gradient methods train the same forward pass with a straight-through estimator
    (`optbench.core.layers.Step`). Raises ValueError unless K is one of `KS`.
    """

    K: int = 4  # hidden units, so breaks in the fitted staircase

    track = "supervised"
    objective_loss = L1
    gives = frozenset({"value", "grad", "exact"})
    passes = 2000.0
    taus = (0.2, 0.1, 1e-2)  # a few hundred random staircases come closer than half-way
    dtype = torch.float64

    def __post_init__(self) -> None:
        if self.K not in KS:
            raise ValueError(f"K={self.K}: the optimum is stated for K in {KS}")

    @property
    def best(self) -> Best:
        return Best(LEAST_L1[KS.index(self.K)], "optimum")

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, self.K), Step(), nn.Linear(self.K, 1))

    def data(self) -> Splits:
        """442 people: body mass index (442, 1) and progression (442, 1), both standardised, float64."""
        x, y = _table()
        return Splits((x, y))


@dataclass(frozen=True)
class StepBmiClasses(StepBmi):
    """1-K-3 network of hard steps on the diabetes data, in cross-entropy over thirds of the progression."""

    objective_loss = CROSS_ENTROPY

    @property
    def best(self) -> Best:
        return Best(LEAST_ENTROPY[KS.index(self.K)], "bound")

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, self.K), Step(), nn.Linear(self.K, 3))

    def data(self) -> Splits:
        """442 people: body mass index (442, 1), standardised, and the third (442,) that the progression is in."""
        x, y = _table()
        return Splits((x, torch.bucketize(y[:, 0], torch.quantile(y[:, 0], torch.tensor([1 / 3, 2 / 3]).double()))))


@cache
def _table() -> tuple[Tensor, Tensor]:
    people, progression = sklearn_table("diabetes")
    columns = np.stack([people[:, 2], progression])  # (2, 442)
    columns = (columns - columns.mean(1, keepdims=True)) / columns.std(1, keepdims=True)
    x, y = torch.from_numpy(columns)[..., None]
    return x, y
