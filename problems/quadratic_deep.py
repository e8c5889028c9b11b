"""`quadratic_deep`, DeepOBS's own stochastic quadratic, number for number: two speeds at once, as in deep networks.

L = E_x 1/2 (theta - x)^T Q (theta - x) in 100 dimensions, x ~ N(0, 0.36 I), theta starts at 1. Ninety eigenvalues of Q
lie in (0, 1), ten in (30, 60) (Chaudhari et al., arXiv:1611.01838). Schneider, Balles & Hennig, "DeepOBS" (ICLR 2019)
draw eigenvalues and rotation from one NumPy stream and the data from two more; the same numbers are drawn here, so
their published curves can be compared with. DeepOBS drops what is left of an epoch that no full minibatch of 128 fits
into. Therefore its test loss is that of the first 896 = 7 x 128 points, and these are the test split here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from optbench.core.problem import Batch, Best, Net, Problem, Splits

DIM, SAMPLES, TEST_SAMPLES = 100, 1000, 896
NOISE = 0.6  # standard deviation of the data
STREAM, TRAIN_STREAM, TEST_STREAM = 42, 42, 43  # seeds: spectrum and rotation, training points, test points


class Quadratic(nn.Module):
    """(N, 100) -> (N,): each sample's own quadratic at theta."""

    hessian: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(DIM))
        self.register_buffer("hessian", torch.as_tensor(hessian(), dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        away = self.theta - x
        return 0.5 * ((away @ self.hessian) * away).sum(1)


@dataclass(frozen=True)
class QuadraticDeep(Problem):
    """DeepOBS's `quadratic_deep` with DeepOBS's rotation and data; minimised by the mean of the training points."""

    track = "function"
    loss_name = "noisy quadratic"
    passes = 200.0
    batch = 128
    start = 353.70645
    best = Best(84.769653, "optimum")

    def network(self) -> nn.Module:
        return Quadratic()

    def data(self) -> Splits:
        """1000 / none / 896 points (N, 100)."""
        return Splits(train=(_points(TRAIN_STREAM),), test=(_points(TEST_STREAM)[:TEST_SAMPLES],))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return net(batch[0]).mean()


@cache
def hessian() -> NDArray[np.float64]:
    """(100, 100) Q = R^T diag(eigenvalues) R, the numbers drawn in DeepOBS's order. Read it, do not write to it."""
    stream = np.random.RandomState(STREAM)
    eigenvalues = np.concatenate([stream.uniform(0, 1, 90), stream.uniform(30, 60, 10)])
    rotation = random_rotation(DIM, stream)
    return rotation.T @ (eigenvalues[:, None] * rotation)


def random_rotation(dim: int, stream: np.random.RandomState) -> NDArray[np.float64]:
    """A (dim, dim) rotation, uniformly distributed, by the subgroup algorithm (Diaconis & Shahshahani 1987).

    A rotation of the plane grows by one dimension at a time: the old rotation acts on the last coordinates, and a
    Householder reflection then carries the new first axis to a uniform point v of the sphere. It draws one uniform
    number for the plane and n normal ones for each dimension n = 3, ..., dim.
    """
    angle = 2 * np.pi * stream.uniform()
    grown = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for size in range(3, dim + 1):
        point = stream.normal(size=size)
        mirror = -point / np.linalg.norm(point)
        mirror[0] += 1.0
        mirror /= np.linalg.norm(mirror)
        wider = np.eye(size)
        wider[1:, 1:] = grown
        grown = wider - 2 * np.outer(mirror, mirror @ wider)
    return -grown


@cache
def _points(seed: int) -> Tensor:
    return torch.as_tensor(np.random.RandomState(seed).normal(0, NOISE, (SAMPLES, DIM)), dtype=torch.float32)
