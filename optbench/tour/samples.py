"""Small data sets that the studies of the tour train on: drawn once, always the same."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optbench.core.problem import generator


def slope() -> tuple[Tensor, Tensor]:
    """60 points around the line y = x - 0.5, x around 1: a bowl of two parameters, much steeper one way than the "
    "other."""
    draw = generator(0, "slope")
    x = 1 + 0.5 * torch.randn(60, 1, generator=draw)
    return x, x - 0.5 + 0.4 * torch.randn(60, 1, generator=draw)


def with_outlier(pull: float) -> tuple[Tensor, Tensor]:
    """21 points around y = 0.8 x, the last but two pulled down by `pull`."""
    draw = generator(0, "outlier")
    x = torch.linspace(-1, 1, 21)[:, None]
    y = 0.8 * x + 0.12 * torch.randn(21, 1, generator=draw)
    y[-3] -= pull
    return x, y


def two_classes(push: float) -> tuple[Tensor, Tensor]:
    """20 points of class 0 on the left, 20 of class 1 on the right, half of the latter pushed away from the border."""
    draw = generator(1, "classes")
    sides = torch.tensor([[-1.2, 0.0]] * 20 + [[1.2, 0.0]] * 20)
    x = sides + 0.42 * torch.randn(40, 2, generator=draw)
    x[30:] += torch.tensor([push, -0.6 * push])
    return x, torch.tensor([[0.0]] * 20 + [[1.0]] * 20)


def noisy_sine(count: int, part: str = "train") -> tuple[Tensor, Tensor]:
    """`count` points of a sine with noise of deviation 0.25, x in [-1, 1]. part: of which draw, "train" or "test"."""
    draw = generator(0, f"sine of the tour, {part}")
    x = 2 * torch.rand(count, 1, generator=draw) - 1
    return x, torch.sin(math.pi * x) + 0.25 * torch.randn(count, 1, generator=draw)


def two_moons(count: int, part: str = "train") -> tuple[Tensor, Tensor]:
    """`count` points of two half circles that reach into each other, and their classes 0 and 1."""
    draw = generator(0, f"moons of the tour, {part}")
    labels = torch.arange(count) % 2
    angle = math.pi * torch.rand(count, generator=draw)
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], 1)
    x = torch.where(labels[:, None] == 0, upper, -upper)
    return x + 0.18 * torch.randn(count, 2, generator=draw), labels
