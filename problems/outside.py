"""Functions whose values come from somebody else's compiled code: COCO's, IOHprofiler's.

Such a package gives no gradients, so there are none, unless `gradient` asks for finite differences, whose evaluations
are paid for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.functions import Point
from optbench.problems.shared import stated

Array = NDArray[np.float64]

PRECISIONS = tuple(10.0**k for k in range(2, -9, -1))  # COCO's targets: how far a value may be above the optimum
GRADIENTS = ("none", "forward", "central")
STEP = {"forward": math.sqrt(np.finfo(float).eps), "central": float(np.cbrt(np.finfo(float).eps))}
MAX_INSTANCE = 10_000  # instances are numbered without end; seeds beyond this are none that anyone compares


@dataclass(frozen=True)
class Outside(Problem):
    """A function with a number, a dimension and an instance; a subclass says which there are, its values and optimum.

    A fresh network is a uniform draw from the box, where the optimum lies; nothing keeps an optimizer inside.
    More than ten public methods, as Problem has.
    """

    f: int = 1  # function
    d: int = 10  # dimension
    i: int = 1  # instance: another place and value of the optimum
    gradient: str = "none"  # "none", or finite differences: "forward" takes d evaluations more, "central" 2 d

    track = "function"
    dtype = torch.float64
    vmaps = False  # values come from the package's compiled code, many points at a call: see `evaluate`
    instead_of_gradients = "write gradient=forward or gradient=central for finite differences, which are paid for"
    suite: ClassVar[str]
    package: ClassVar[str]  # what it imports
    extra: ClassVar[str]  # the extra of optbench that installs it
    functions: ClassVar[range]
    dimensions: ClassVar[tuple[int, ...]]
    instances: ClassVar[range] = range(1, MAX_INSTANCE + 1)
    box: ClassVar[tuple[float, float]] = (-5.0, 5.0)

    def __post_init__(self) -> None:
        if find_spec(self.package) is None:
            raise ModuleNotFoundError(
                f"{self.suite} needs {self.package}: python -m pip install 'optbench[{self.extra}]'"
            )
        self._stated("f", self.f, self.functions)
        self._stated("d", self.d, self.dimensions)
        self._stated("i", self.i, self.instances)
        stated(f"{self.suite}: gradient", self.gradient, GRADIENTS)

    def _stated(self, name: str, value: int, choices: range | tuple[int, ...]) -> None:
        if value not in choices:
            near = min(choices, key=lambda choice: abs(choice - value))
            few = len(choices) < 10
            valid = ", ".join(map(str, choices)) if few else f"{choices[0]} to {choices[-1]}"
            what = {"f": "function", "d": "dimension", "i": "instance"}[name]
            raise ValueError(f"{self.suite} has no {what} {name}={value}; it has {valid}, the nearest is {name}={near}")

    @property
    def loss_name(self) -> str:
        return f"{self.suite} f{self.f}"

    @property
    def gives(self) -> frozenset[str]:  # type: ignore[override]  # a setting decides it
        return frozenset({"value"} if self.gradient == "none" else {"value", "grad"})

    @property
    def gradient_evaluations(self) -> int:
        return {"none": 1, "forward": self.d, "central": 2 * self.d}[self.gradient]

    @property
    def passes(self) -> float:  # type: ignore[override]  # a setting decides it
        """A pass is one evaluation; COCO's small budget is 1,000 of them a dimension."""
        return 1000.0 * self.d

    @property
    def best(self) -> Best:
        return Best(self.optimum, "optimum")

    @property
    def taus(self) -> tuple[float, ...]:
        """COCO's precisions: a target is the optimum plus one of them, wherever a run starts."""
        return PRECISIONS

    @property
    def targets(self) -> dict[float, float]:
        return {precision: self.best.value + precision for precision in self.taus}

    def network(self) -> nn.Module:
        return Point(self.d, *self.box)

    def data(self) -> Splits:
        return Splits((torch.zeros(1, 0),))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x = net()
        if self.gradient != "none" and x.requires_grad and torch.is_grad_enabled():
            loss: Tensor = Differences.apply(x, self)
            return loss
        return torch.from_numpy(self.values(x.detach().cpu().numpy()[None]))[0].to(x.device)

    def evaluate(self, points: Tensor) -> Tensor:
        """(P, D) -> (P,) in one call of the package."""
        return torch.from_numpy(self.values(points.detach().cpu().numpy())).to(points.device)

    def values(self, x: Array) -> Array:
        """(P, d) -> (P,): the package's own values."""
        raise NotImplementedError

    @property
    def optimum(self) -> float:
        """The lowest value that there is."""
        raise NotImplementedError

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """The point itself where it can be drawn, so that a record holds the trajectory."""
        return dict(zip("xy", net().unbind(), strict=True)) if self.d == 2 else {}


class Differences(torch.autograd.Function):
    """The value of a function at (D,), its gradient by finite differences along every axis.

    Steps are the machine's precision to the power 1/2 (forward) or 1/3 (central), times max(1, |x|): Nocedal & Wright
    (2006), section 8.1. All evaluations are made together with the value, in one call.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, problem: Outside) -> Tensor:
        at = x.detach().cpu().numpy()
        step = STEP[problem.gradient] * np.maximum(1.0, np.abs(at))
        ahead, behind = at + np.diag(step), at - np.diag(step)  # (D, D), a row an axis
        if problem.gradient == "forward":
            found = problem.evaluate(torch.from_numpy(np.vstack([at[None], ahead]))).numpy()
            slope = (found[1:] - found[0]) / (ahead.diagonal() - at)
        else:
            found = problem.evaluate(torch.from_numpy(np.vstack([at[None], ahead, behind]))).numpy()
            after, before = np.split(found[1:], 2)
            slope = (after - before) / (ahead.diagonal() - behind.diagonal())
        ctx.save_for_backward(torch.from_numpy(slope).to(x.device))
        return x.new_tensor(found[0])

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return outer[0] * slope, None
