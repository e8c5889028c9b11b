"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), the subset in the package: three problems without labels, one with.

2000 training and 500 test pictures of 28x28 grey levels in [0, 1], ten kinds of clothing in equal parts. The problems
without labels see them at 14x14 (means of 2x2 blocks), so that a trial takes seconds on one core.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from optbench.core.problem import split
from optbench.problems.shared import arrays


class Pictures(NamedTuple):
    """Pictures (N, 1, 28, 28) in [0, 1] and labels (N,)."""

    x: Tensor
    y: Tensor


@cache
def pictures() -> list[Pictures]:
    """Train 1600, valid 400 (from the 2000), test 500."""
    archive = arrays("fashion_mnist_2k500.npz")
    x, y = scaled(archive["x_train"]), torch.as_tensor(archive["y_train"], dtype=torch.int64)
    train, valid = split(len(x), (0.8, 0.2))
    test = Pictures(scaled(archive["x_test"]), torch.as_tensor(archive["y_test"], dtype=torch.int64))
    return [Pictures(x[train], y[train]), Pictures(x[valid], y[valid]), test]


@cache
def thumbnails() -> list[Tensor]:
    """The same pictures as rows (N, 196) of means over 2x2 blocks."""
    return [F.avg_pool2d(part.x, 2).flatten(1) for part in pictures()]


def scaled(raw: object) -> Tensor:
    """uint8 (N, 28, 28) -> float32 (N, 1, 28, 28) in [0, 1]."""
    return torch.as_tensor(raw, dtype=torch.float32).unsqueeze(1) / 255
