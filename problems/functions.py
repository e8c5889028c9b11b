"""Test functions as networks of one parameter tensor, with their known optima (value 0).

Formulas and search boxes: Jamil & Yang, "A literature survey of benchmark functions" (2013); the ellipsoid is COCO's f2
without rotation. A fresh network is a uniform draw from the box, and nothing keeps an optimizer inside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from optbench.core.problem import Batch, Best, Known, Net, Problem, Splits


class Point(nn.Module):
    """forward() -> (D,): the parameter itself, drawn uniformly from a box."""

    def __init__(self, dim: int, low: float, high: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.empty(dim, dtype=torch.float64).uniform_(low, high))

    def forward(self) -> Tensor:
        return self.x


@dataclass(frozen=True)
class Function(Problem):
    """A function of `dim` numbers; a subclass states its formula, its box and its minimiser."""

    dim: int = 10

    track = "function"
    dtype = torch.float64
    best = Best(0.0, "optimum")
    box: ClassVar[tuple[float, float]]
    minimiser: ClassVar[float] = 0.0  # every coordinate of the point where the optimum lies
    starts: ClassVar[Mapping[int, float]]  # dim: start
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {}  # dim: taus
    fewest: ClassVar[int] = 1  # dimensions that the formula needs

    def __post_init__(self) -> None:
        if self.dim < self.fewest:
            raise ValueError(f"{self.loss_name}: dim {self.dim}, at least {self.fewest}")

    @property
    def known(self) -> Known | None:
        return Known(self.starts[self.dim]) if self.dim in self.starts else None

    @property
    def taus(self) -> tuple[float, ...]:
        """Points drawn at random differ by orders of magnitude, so no target is one that a lucky draw meets."""
        return self.levels.get(self.dim, (0.1, 1e-2, 1e-3))

    def network(self) -> nn.Module:
        return Point(self.dim, *self.box)

    def data(self) -> Splits:
        return Splits((torch.zeros(1, 0),))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return self.formula(net())

    def formula(self, x: Tensor) -> Tensor:
        """(D,) -> the function's value, a scalar."""
        raise NotImplementedError

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """The point itself where it can be drawn, so that a record holds the trajectory."""
        return dict(zip("xy", net().unbind(), strict=True)) if self.dim == 2 else {}


@dataclass(frozen=True)
class Sphere(Function):
    """The sphere: the easiest smooth function there is."""

    loss_name = "sphere"
    passes = 300.0
    box = (-5.0, 5.0)
    starts: ClassVar[Mapping[int, float]] = {10: 72.554, 2: 16.1759}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {2: (1e-3, 1e-4, 1e-6)}

    def formula(self, x: Tensor) -> Tensor:
        return x.square().sum()


@dataclass(frozen=True)
class Ellipsoid(Function):
    """An axis-parallel ellipsoid of condition number 1e6: convex, separable, badly scaled."""

    loss_name = "ellipsoid"
    passes = 2000.0
    box = (-5.0, 5.0)
    starts: ClassVar[Mapping[int, float]] = {10: 4854200.0, 2: 5366390.0}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {10: (1e-2, 1e-3, 1e-4), 2: (1e-6, 1e-7, 1e-8)}

    def formula(self, x: Tensor) -> Tensor:
        return (torch.logspace(0, 6, len(x), dtype=x.dtype, device=x.device) * x.square()).sum()


@dataclass(frozen=True)
class Rosenbrock(Function):
    """Rosenbrock's valley: smooth, curved, badly conditioned."""

    loss_name = "rosenbrock"
    passes = 2000.0
    box = (-2.048, 2.048)
    fewest = 2
    minimiser = 1.0
    starts: ClassVar[Mapping[int, float]] = {10: 3485.27601, 2: 307.61984}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {2: (1e-5, 1e-6, 1e-8)}

    def formula(self, x: Tensor) -> Tensor:
        return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


@dataclass(frozen=True)
class Rastrigin(Function):
    """Rastrigin: a bowl under a regular grid of local minima."""

    loss_name = "rastrigin"
    passes = 3000.0
    box = (-5.12, 5.12)
    starts: ClassVar[Mapping[int, float]] = {10: 180.073924, 2: 36.888153}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {10: (0.4, 0.2)}  # everything comes half-way, little further

    def formula(self, x: Tensor) -> Tensor:
        return (10 + x.square() - 10 * torch.cos(2 * math.pi * x)).sum()


@dataclass(frozen=True)
class Ackley(Function):
    """Ackley: nearly flat far out, a funnel with ripples near the optimum."""

    loss_name = "ackley"
    passes = 2000.0
    box = (-32.768, 32.768)
    starts: ClassVar[Mapping[int, float]] = {10: 21.1694, 2: 20.862}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {10: (0.5, 0.1, 1e-2, 1e-3)}

    def formula(self, x: Tensor) -> Tensor:
        radius = x.square().mean().sqrt()
        return 20 + math.e - 20 * torch.exp(-0.2 * radius) - torch.exp(torch.cos(2 * math.pi * x).mean())


@dataclass(frozen=True)
class Griewank(Function):
    """Griewank: a wide bowl under ripples that a product couples across dimensions."""

    loss_name = "griewank"
    passes = 2000.0
    box = (-600.0, 600.0)
    starts: ClassVar[Mapping[int, float]] = {10: 262.195, 2: 59.3473}
    levels: ClassVar[Mapping[int, tuple[float, ...]]] = {2: (3e-3, 1e-3)}

    def formula(self, x: Tensor) -> Tensor:
        index = torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device)
        return 1 + x.square().sum() / 4000 - torch.cos(x / index.sqrt()).prod()
