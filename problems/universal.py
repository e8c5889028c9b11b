"""Universal approximation: how closely a tanh network of a given width and depth can be trained to follow a function.

The target is f(x) = sin(2 pi x) + sin(6 pi x) / 2 on [-1, 1], without noise, so the error falls with the number of
parameters for as long as the optimizer keeps up (Cybenko 1989; Hornik 1991). The family is a grid of settings:
`universal[width=4,depth=1]`, `universal[width=32,depth=3]`, ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from optbench.core.losses import MSE
from optbench.core.problem import Batch, Known, Problem, Splits

STATED = {(16, 2): Known(0.634636)}  # (width, depth): start


def largest_error(outputs: Tensor, y: Tensor) -> Tensor:
    """What the theorem bounds."""
    return (outputs - y).abs().max()


@dataclass(frozen=True)
class Universal(Problem):
    """A tanh network of any width and depth fitted to a known function of one number, MSE."""

    width: int = 16
    depth: int = 2  # hidden layers

    track = "supervised"
    objective_loss = MSE.with_metrics(largest_error=largest_error)
    passes = 3000.0
    bound = 0.0
    taus = (0.8, 0.5, 0.1, 1e-2)

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"universal: width {self.width} and depth {self.depth} must both be at least 1")

    @property
    def known(self) -> Known | None:
        return STATED.get((self.width, self.depth))

    def network(self) -> nn.Module:
        sizes = [1] + [self.width] * self.depth
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Tanh())]
        return nn.Sequential(*hidden, nn.Linear(self.width, 1))

    def data(self) -> Splits:
        """256 equally spaced points; valid and test lie between them, a third and two thirds of the way."""
        grid = torch.linspace(-1, 1, 256, dtype=torch.float64)[:, None]
        gap = 2 / 255
        return Splits(*(_sampled(x) for x in (grid, grid[:-1] + gap / 3, grid[:-1] + 2 * gap / 3)))


def f(x: Tensor) -> Tensor:
    """The function to approximate."""
    return torch.sin(2 * math.pi * x) + torch.sin(6 * math.pi * x) / 2


def _sampled(x: Tensor) -> Batch:
    return x.float(), f(x).float()
