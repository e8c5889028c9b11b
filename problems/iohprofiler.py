"""Functions of IOHprofiler (de Nobel et al. 2024), from the package ioh: SBOX-COST, and CEC 2022's competition.

Its bbob is COCO's up to the last digits, and `bbob` has that already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from optbench.problems.outside import Array, Outside


@dataclass(frozen=True)
class Sbox(Outside):
    """A function of SBOX-COST (Vermetten et al. 2023): bbob's, its optimum anywhere in the box, infinite outside."""

    suite = "ioh-sbox"
    package = "ioh"
    extra = "ioh"
    functions = range(1, 25)
    dimensions = tuple(range(2, 101))

    def values(self, x: Array) -> Array:
        return np.asarray(_function("SBOX", self.f, self.d, self.i)(np.ascontiguousarray(x)), dtype=float)

    @property
    def optimum(self) -> float:
        return float(_function("SBOX", self.f, self.d, self.i).optimum.y)


@dataclass(frozen=True)
class Cec2022(Outside):
    """A function of CEC 2022's competition: shifted, rotated, hybrid and composed, in 2, 10 or 20 dimensions."""

    suite = "ioh-cec2022"
    package = "ioh"
    extra = "ioh"
    functions = range(1, 13)
    dimensions = (2, 10, 20)
    instances = range(1, 2)
    box = (-100.0, 100.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d == 2 and self.f in (6, 7, 8):
            raise ValueError(f"{self.suite}: the hybrid functions f=6, 7 and 8 have no d=2; write d=10 or d=20")

    def values(self, x: Array) -> Array:
        return np.asarray(_function("CEC2022", 1000 + self.f, self.d, 1)(np.ascontiguousarray(x)), dtype=float)

    @property
    def optimum(self) -> float:
        return float(_function("CEC2022", 1000 + self.f, self.d, 1).optimum.y)


@cache
def _function(kind: str, f: int, d: int, i: int) -> Any:
    ioh = import_module("ioh")
    return ioh.get_problem(f, i, d, ioh.ProblemClass[kind])
