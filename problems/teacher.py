"""A network that imitates another one of its own shape: the optimum is 0 at every size, so sizes can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
from torch import nn

from optbench.core.losses import MSE
from optbench.core.problem import Best, Problem, Splits, generator
from optbench.problems.sklearn_tables import sklearn_table

SAMPLES = 256  # for training, and as many again for validation and for test


@dataclass(frozen=True)
class Teacher(Problem):
    """Smooth regression on digits: a tanh network learns what a fixed one of the same shape makes of their features.

    The inputs are the first `features` principal components of the 8x8 digits, standardised; the targets are the
    teacher's outputs, standardised, so a constant has loss 1. A network of this shape reaches 0, whatever its size.
    Raises ValueError for a shape that does not exist.
    """

    features: int = 8  # 1 to 60
    hidden: int = 10  # units in a hidden layer
    depth: int = 1  # hidden layers

    track = "supervised"
    objective_loss = MSE
    passes = 1000.0
    best = Best(0.0, "optimum")

    def __post_init__(self) -> None:
        if not 1 <= self.features <= 60 or self.hidden < 1 or self.depth < 1:
            raise ValueError(
                f"features={self.features}, hidden={self.hidden}, depth={self.depth}: features is 1 to 60, "
                "hidden and depth are at least 1"
            )

    def network(self) -> nn.Module:
        widths = [self.features, *[self.hidden] * self.depth]
        hidden: list[nn.Module] = []
        for inputs, units in pairwise(widths):
            hidden += [nn.Linear(inputs, units), nn.Tanh()]
        return nn.Sequential(*hidden, nn.Linear(self.hidden, 1))

    def data(self) -> Splits:
        return _data(self.features, self.hidden, self.depth)


@cache
def _data(features: int, hidden: int, depth: int) -> Splits:
    """Three times 256 samples: x (N, features) and y (N, 1), scaled by what the training samples show."""
    stream = generator(0, "teacher")
    table = torch.as_tensor(sklearn_table("digits")[0], dtype=torch.float64)
    table = table[torch.randperm(len(table), generator=stream)[: 3 * SAMPLES]]
    known = table[:SAMPLES]
    centred = table - known.mean(0)
    axes = torch.linalg.svd(centred[:SAMPLES], full_matrices=False).Vh[:features]
    x = centred @ axes.mT
    x = x / x[:SAMPLES].std(0)
    y = x
    for inputs, units in pairwise([features, *[hidden] * depth]):
        weight = torch.randn(inputs, units, generator=stream, dtype=torch.float64) / inputs**0.5
        y = torch.tanh(y @ weight + 0.5 * torch.randn(units, generator=stream, dtype=torch.float64))
    y = y @ torch.randn(hidden, 1, generator=stream, dtype=torch.float64)
    y = (y - y[:SAMPLES].mean()) / y[:SAMPLES].std()
    return Splits(*zip(x.float().split(SAMPLES), y.float().split(SAMPLES), strict=True))
