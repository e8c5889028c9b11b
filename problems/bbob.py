"""COCO's functions bbob (f1 to f24), bbob-noisy (f101 to f130) and bbob-largescale, from the package coco-experiment.

Hansen, Auger, Ros, Mersmann, Tusar & Brockhoff, "COCO: a platform for comparing continuous optimizers in a black-box
setting", Optimization Methods and Software 36 (2021). Values are the package's own, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from optbench.problems.outside import Array, Outside

# The noiseless function whose seed, and so whose optimal value, a noisy one has (bbob-noisy, Finck et al. 2009).
_SEED_OF_NOISY = {101 + k: (1, 8, 1, 8, 7, 10, 14, 17, 19, 21)[k // 3] for k in range(30)}


@dataclass(frozen=True)
class Bbob(Outside):
    """A noiseless function of COCO's suite bbob; any dimension from 2 to 40, the suite has 2, 3, 5, 10, 20 and 40."""

    suite = "bbob"
    package = "cocoex"
    extra = "coco"
    functions = range(1, 25)
    dimensions = tuple(range(2, 41))

    def values(self, x: Array) -> Array:
        return values(self.suite, self.f, self.d, self.i, x)

    @property
    def optimum(self) -> float:
        return optimal_value(self.suite, self.f, self.i)


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


def index_of(suite: str, f: int) -> int:
    """The place of a function in its suite, from 1: the noisy ones are numbered from 101."""
    return f - 100 if suite == "bbob-noisy" else f


@cache
def _function(suite: str, f: int, d: int, i: int) -> Any:
    """A function that nobody observes. Bad numbers must not come here: the package's compiled code ends the process."""
    cocoex = import_module("cocoex")
    if suite == "bbob":
        return cocoex.BareProblem("bbob", f, d, i)
    found = cocoex.Suite(suite, f"instances: {i}", f"dimensions: {d} function_indices: {index_of(suite, f)}")
    return found.get_problem(found.ids()[0])
