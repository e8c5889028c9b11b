"""COCO's functions bbob (f1 to f24), bbob-noisy (f101 to f130) and bbob-largescale, from the package coco-experiment.

Hansen, Auger, Ros, Mersmann, Tusar & Brockhoff, "COCO: a platform for comparing continuous optimizers in a black-box
setting", Optimization Methods and Software 36 (2021). Values are the package's own, to the last bit. The package gives
Python no gradients, so there are none, unless `gradient` asks for finite differences, whose evaluations are paid for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib import import_module
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
# The noiseless function whose seed, and so whose optimal value, a noisy one has (bbob-noisy, Finck et al. 2009).
_SEED_OF_NOISY = {101 + k: (1, 8, 1, 8, 7, 10, 14, 17, 19, 21)[k // 3] for k in range(30)}
MAX_INSTANCE = 10_000  # the package numbers instances without end; seeds beyond this are none that anyone compares


@dataclass(frozen=True)
class Bbob(Problem):
    """A noiseless function of COCO's suite bbob; any dimension from 2 to 40, the suite has 2, 3, 5, 10, 20 and 40.

    A fresh network is a uniform draw from [-5, 5]^d, where the optimum lies; nothing keeps an optimizer inside.
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
    suite: ClassVar[str] = "bbob"
    functions: ClassVar[range] = range(1, 25)
    dimensions: ClassVar[tuple[int, ...]] = tuple(range(2, 41))

    def __post_init__(self) -> None:
        require_coco()
        self._stated("f", self.f, self.functions)
        self._stated("d", self.d, self.dimensions)
        self._stated("i", self.i, range(1, MAX_INSTANCE + 1))
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
        return Best(optimal_value(self.suite, self.f, self.i), "optimum")

    @property
    def taus(self) -> tuple[float, ...]:
        """COCO's precisions: a target is the optimum plus one of them, wherever a run starts."""
        return PRECISIONS

    @property
    def targets(self) -> dict[float, float]:
        return {precision: self.best.value + precision for precision in self.taus}

    def network(self) -> nn.Module:
        return Point(self.d, -5.0, 5.0)

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
        return values(self.suite, self.f, self.d, self.i, x)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """The point itself where it can be drawn, so that a record holds the trajectory."""
        return dict(zip("xy", net().unbind(), strict=True)) if self.d == 2 else {}


@dataclass(frozen=True)
class BbobLargescale(Bbob):
    """A function of COCO's suite bbob-largescale: block-diagonal rotations, in 20 to 640 dimensions."""

    d: int = 80  # dimension

    suite = "bbob-largescale"
    dimensions = (20, 40, 80, 160, 320, 640)


@dataclass(frozen=True)
class BbobNoisy(Bbob):
    """A function of COCO's suite bbob-noisy; the noise of a trial is the package's stream from its beginning.

    The optimum is that of the function without its noise. A score carries noise as an evaluation does.
    """

    f: int = 101  # function

    stochastic = True
    instead_of_gradients = ""
    suite = "bbob-noisy"
    functions = range(101, 131)
    dimensions = (2, 3, 5, 10, 20, 40)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gradient != "none":
            raise ValueError(f"{self.suite}: gradient={self.gradient!r}: differences of noise are none; leave it out")

    def begin(self) -> None:
        begin_noise()


class Differences(torch.autograd.Function):
    """The value of a function at (D,), its gradient by finite differences along every axis.

    Steps are the machine's precision to the power 1/2 (forward) or 1/3 (central), times max(1, |x|): Nocedal & Wright
    (2006), section 8.1. All evaluations are made together with the value, in one call.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, problem: Bbob) -> Tensor:
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


def require_coco() -> None:
    """Raise ModuleNotFoundError, with the command that installs it, where COCO's experiment package is absent."""
    if find_spec("cocoex") is None:
        raise ModuleNotFoundError("COCO's functions need the package coco-experiment: pip install 'optbench[coco]'")


def values(suite: str, f: int, d: int, i: int, x: Array) -> Array:
    """(P, d) points -> (P,) values of a function of COCO."""
    function = _function(suite, f, d, i)
    if suite == "bbob":
        return np.asarray(function(np.array(x, dtype=float, order="C")))  # a loop in compiled code
    return np.array([function(point) for point in x], dtype=float)


@cache
def optimal_value(suite: str, f: int, i: int) -> float:
    """The lowest value that there is, whatever the dimension; of a noisy function, that of the function below."""
    return float(_function("bbob", _SEED_OF_NOISY.get(f, f), 2, i).best_value())


def begin_noise() -> None:
    """Let the package draw its noise from the beginning, as it does for every new suite."""
    import_module("cocoex").Suite("bbob-noisy", "instances: 1", "dimensions: 2 function_indices: 1")


@cache
def _function(suite: str, f: int, d: int, i: int) -> Any:
    """A function that nobody observes. Bad numbers must not come here: the package's compiled code ends the process."""
    cocoex = import_module("cocoex")
    if suite == "bbob":
        return cocoex.BareProblem("bbob", f, d, i)
    index = f - 100 if suite == "bbob-noisy" else f
    found = cocoex.Suite(suite, f"instances: {i}", f"dimensions: {d} function_indices: {index}")
    return found.get_problem(found.ids()[0])
