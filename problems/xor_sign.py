"""Exclusive or, learned by sign units: the best weights on an integer grid are known by dynamic programming."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import ClassVar

import torch
from torch import nn

from optbench.core.layers import Sign
from optbench.core.losses import BCE
from optbench.core.problem import Problem, Splits

# {(inputs, hidden layers, L): the least loss on the grid}, proved by dynamic programming
ON_GRID = {
    (2, 1, 1): 0.313261687518223,
    (2, 1, 2): 0.126928011042972,
    (2, 1, 3): 0.0485873515737421,
    (2, 2, 1): 0.126928011042972,
    (2, 2, 2): 0.0181499279178097,
    (3, 1, 1): 0.247093103532103,
    (3, 1, 2): 0.0958149295666620,
}


@dataclass(frozen=True)
class XorSign(Problem):
    """A 2-2-1 sign network (2-2-2-1 with two layers) on the corners of {-1, 1}^2, in binary cross-entropy.

    The gradient through a sign is zero, so gradient methods train the same forward pass with a straight-through
    estimator (`Sign`). Over all real weights the loss comes as near to 0 as one likes, since logits may
    grow; exact methods choose every weight and bias from the integers -L..L (`grid`).
    """

    L: int = 2  # the grid is -L..L
    layers: int = 1  # hidden layers, 1 or 2

    inputs: ClassVar[int] = 2  # also the units of every hidden layer
    track = "supervised"
    objective_loss = BCE
    gives = frozenset({"value", "grad", "exact"})
    passes = 2000.0
    dtype = torch.float64
    bound = 0.0

    def __post_init__(self) -> None:
        if self.L < 1 or self.layers not in (1, 2):
            raise ValueError(f"L={self.L}, layers={self.layers}: L is at least 1, layers 1 or 2")

    @property
    def grid(self) -> tuple[float, ...]:
        """The values that exact methods choose every weight and bias from."""
        return tuple(float(value) for value in range(-self.L, self.L + 1))

    @property
    def grid_best(self) -> float | None:
        """The least loss with every weight and bias on the grid; None where nobody has worked it out."""
        return ON_GRID.get((self.inputs, self.layers, self.L))

    def network(self) -> nn.Module:
        hidden: list[nn.Module] = []
        for _ in range(self.layers):
            hidden += [nn.Linear(self.inputs, self.inputs), Sign()]
        return nn.Sequential(*hidden, nn.Linear(self.inputs, 1))

    def data(self) -> Splits:
        """2^n samples: x (2^n, n) of -1 and 1; y (2^n, 1), 1 where the product of x is negative; no other split."""
        corners = list(product((-1.0, 1.0), repeat=self.inputs))
        odd = [[float(prod(corner) < 0)] for corner in corners]
        return Splits((torch.tensor(corners, dtype=torch.float64), torch.tensor(odd, dtype=torch.float64)))
