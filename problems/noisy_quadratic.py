"""The noisy quadratic of DeepOBS: two speeds at once, as in the Hessians of deep networks.

L = E_x 1/2 (theta - x)^T Q (theta - x), x ~ N(0, 0.36 I), theta starts at 1; 90 eigenvalues of Q in (0, 1), 10 in
(30, 60) (Chaudhari et al., arXiv:1611.01838). Schneider, Balles & Hennig, "DeepOBS" (ICLR 2019), `quadratic_deep`: the
eigenvalues and the data are drawn from the same NumPy streams as there, the rotation is one of our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from optbench.core.problem import Batch, Best, Net, Problem, Splits

NOISE = 0.6  # standard deviation of the data
EIGENVALUES = np.random.RandomState(42).uniform([0.0] * 90 + [30.0] * 10, [1.0] * 90 + [60.0] * 10)


class Quadratic(nn.Module):
    """(N, 100) -> (N,): each sample's own quadratic at theta."""

    root: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(100))
        self.register_buffer("root", root())

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((self.theta - x) @ self.root).square().sum(1)


@dataclass(frozen=True)
class NoisyQuadratic(Problem):
    """DeepOBS's stochastic quadratic in 100 dimensions, two-speed spectrum; minimised by the mean of the data."""

    track = "function"
    loss_name = "noisy quadratic"
    passes = 200.0
    batch = 128
    start = 295.143
    best = Best(86.852330, "optimum")

    def network(self) -> nn.Module:
        return Quadratic()

    def data(self) -> Splits:
        """1000 / none / 1000 points (N, 100)."""
        return Splits(train=(_points(42),), test=(_points(43),))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return net(batch[0]).mean()


@cache
def root() -> Tensor:
    """(100, 100) R with R R^T = Q: a random rotation, its columns scaled by the roots of the eigenvalues."""
    rotation, upper = np.linalg.qr(np.random.RandomState(0).normal(size=(100, 100)))
    rotation *= np.sign(np.diag(upper))  # uniform over rotations (Mezzadri 2007)
    return torch.as_tensor(rotation * np.sqrt(EIGENVALUES), dtype=torch.float32)


@cache
def _points(seed: int) -> Tensor:
    return torch.as_tensor(np.random.RandomState(seed).normal(0, NOISE, (1000, 100)), dtype=torch.float32)
