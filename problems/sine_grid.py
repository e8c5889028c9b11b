"""A sine fitted by a small tanh network whose best weights on an integer grid are known by dynamic programming."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from optbench.core.losses import MSE
from optbench.core.problem import Best, Problem, Splits

# {(K, L): the least loss on the grid}, proved by dynamic programming
ON_GRID = {
    (3, 3): 0.010747765703632,
    (4, 2): 0.012114239763906,
    (4, 3): 0.00646584110566247,
    (5, 2): 0.00379822350774286,
}

BEST_OF_THREE = (
    2.610663423e-10  # the lowest loss seen with three units and real weights; four or more come as near to 0
)


@dataclass(frozen=True)
class SineGrid(Problem):
    """y = 2 sin(k / 3) at x = k / 4 for k = -8..7, fitted by a 1-K-1 tanh network in mean squared error.

    Exact methods choose every weight and bias from the integers -L..L (`grid`); continuous ones train the same network
    without that restriction and may end below the best network on the grid.
    """

    K: int = 3  # hidden units
    L: int = 3  # the grid is -L..L

    track = "supervised"
    objective_loss = MSE
    gives = frozenset({"value", "grad", "exact"})
    passes = 2000.0
    taus = (0.1, 1e-2, 1e-3)  # everything comes closer than half-way
    dtype = torch.float64

    def __post_init__(self) -> None:
        if self.K < 1 or self.L < 1:
            raise ValueError(f"K={self.K}, L={self.L}: both are at least 1")

    @property
    def grid(self) -> tuple[float, ...]:
        """The values that exact methods choose every weight and bias from."""
        return tuple(float(value) for value in range(-self.L, self.L + 1))

    @property
    def grid_best(self) -> float | None:
        """The least loss with every weight and bias on the grid; None where nobody has worked it out."""
        return ON_GRID.get((self.K, self.L))

    @property
    def best(self) -> Best:
        return Best(BEST_OF_THREE, "best known") if self.K == 3 else Best(0.0, "bound")

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, self.K), nn.Tanh(), nn.Linear(self.K, 1))

    def data(self) -> Splits:
        """16 samples, x (16, 1) and y (16, 1) in float64; there is no other split."""
        x = torch.tensor([[k / 4] for k in range(-8, 8)], dtype=torch.float64)
        y = torch.tensor([[2 * math.sin(k / 3)] for k in range(-8, 8)], dtype=torch.float64)
        return Splits((x, y))
