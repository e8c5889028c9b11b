"""Networks of a few weights on a few samples as problems, and their least loss by trying everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.layers import Sign, Step
from optbench.core.objective import Objective
from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.engine.metered import metered_as

MODULES: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "sign": Sign,
    "step": Step,
    "tanh": nn.Tanh,
}
LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "bce": F.binary_cross_entropy_with_logits,
    "cross-entropy": F.cross_entropy,
}


@dataclass(frozen=True, eq=False)
class Small(Problem):
    """A chain of linear layers with one activation on the given data; `bias` says which layers have one."""

    x: Tensor
    y: Tensor
    widths: tuple[int, ...]
    activation: str = "tanh"
    loss_name: str = "mse"  # type: ignore[misc]  # a setting here, so that one class covers every loss
    bias: tuple[bool, ...] = (True, True, True, True)
    grid: tuple[float, ...] | None = None
    dtype: torch.dtype = torch.float64  # type: ignore[misc]

    track: ClassVar[str] = "supervised"
    gives: ClassVar[frozenset[str]] = frozenset({"value", "grad", "exact"})
    start: ClassVar[float] = 1.0
    best: ClassVar[Best] = Best(0.0, "bound")

    def network(self) -> nn.Module:
        layers: list[nn.Module] = []
        for k, (inputs, outputs) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            layers += [MODULES[self.activation]()] if k else []
            layers.append(nn.Linear(inputs, outputs, bias=self.bias[k]))
        return nn.Sequential(*layers)

    def data(self) -> Splits:
        return Splits((self.x, self.y))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return LOSSES[self.loss_name](net(batch[0]), batch[1])


class Witness(Objective):
    """An objective that keeps the point it was given a certificate for."""

    def certify(self, x: Tensor, lower: float, upper: float, scope: str) -> None:
        self.point = x[0].clone()
        super().certify(x, lower, upper, scope)


class Solved(NamedTuple):
    """What an exact optimizer left."""

    lower: float
    upper: float
    scope: str
    exact: bool
    loss: float  # that the objective scored
    point: Tensor  # (D,)


def solved(problem: Problem, optimizer: Any, passes: float = 1e6) -> Solved:
    """Run the optimizer on the problem and take its certificate, its point and the loss there."""
    f = metered_as(Witness, problem, [0], passes)
    optimizer.minimise(f)
    f.finish()
    certificate = f.finish().certificates[0]
    assert certificate is not None
    return Solved(**certificate, loss=f.finish().curves[0][-1]["loss"], point=f.point)


def every_network(problem: Small, grid: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """All (P, D) weights on the grid and their (P,) losses, through batched matrix products."""
    activation = MODULES[problem.activation]()
    shapes = [p.shape for p in problem.network().parameters()]
    sizes = [shape.numel() for shape in shapes]
    points = torch.tensor(list(product(grid, repeat=sum(sizes))), dtype=torch.float64)  # (P, D)
    parts = [part.reshape(-1, *shape) for part, shape in zip(points.split(sizes, 1), shapes, strict=True)]
    z = problem.x.double().expand(len(points), -1, -1)  # (P, N, I)
    for k in range(len(problem.widths) - 1):
        z = activation(z) if k else z
        z = z @ parts.pop(0).transpose(1, 2)
        if problem.bias[k]:
            z = z + parts.pop(0)[:, None]
    y = problem.y.double().expand_as(z)
    losses = LOSSES[problem.loss_name](z, y, reduction="none").mean((1, 2))
    return points.numpy(), losses.numpy()
