"""Any optimizer of the package nevergrad (Rapin & Teytaud 2018), `nevergrad:NGOpt`, through its ask and tell."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check_count, check_positive


@dataclass(frozen=True)
class NevergradSearch:
    """One of nevergrad's optimizers; a subclass has its name. It begins at a fresh network and knows the budget."""

    sigma: float = 1.0  # of the first steps, times the spread of initial networks
    workers: int = 1  # points asked for before any of them is told, and evaluated together

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True  # most of them keep losses of the whole run
    registered: ClassVar[str]  # what nevergrad calls it

    def __post_init__(self) -> None:
        check_positive("sigma", self.sigma)
        check_count("workers", self.workers, 1)

    def minimise(self, f: Objective) -> None:
        nevergrad = import_module("nevergrad")
        space = nevergrad.p.Array(init=arrays.start(f)).set_mutation(sigma=self.sigma * arrays.spread(f))
        space.random_state.seed(arrays.seed(f))
        budget = max(1, f.planned_evaluations)
        search = nevergrad.optimizers.registry[self.registered](space, budget=budget, num_workers=self.workers)
        losses = arrays.values(f)
        with numbers_of_one():
            for _ in range(-(-budget // self.workers)):
                asked = [search.ask() for _ in range(self.workers)]
                found = losses(arrays.stack([one.value for one in asked]))
                for one, loss in zip(asked, found, strict=True):
                    search.tell(one, float(loss))


def named(name: str) -> type[NevergradSearch]:
    """The class that runs the optimizer of this name. Raises KeyError where nevergrad has none."""
    registry = import_module("nevergrad").optimizers.registry
    registry[name]
    # Its module is nevergrad's, so that it counts as third-party: it is isolated, and its version is in fingerprints.
    attributes = {"registered": name, "__module__": "nevergrad", "__doc__": f"nevergrad's {name}."}
    return type(name, (NevergradSearch,), attributes)


def names() -> list[str]:
    """What nevergrad's optimizers are called."""
    return list(import_module("nevergrad").optimizers.registry)


@contextmanager
def numbers_of_one() -> Iterator[None]:
    """Inside it nevergrad's models take an array of one number for a number.

    NumPy 2.4 refuses float() of such an array, and nevergrad 1.0.12 still asks for it, so NGOpt would fail.
    """
    module: Any = import_module("nevergrad.optimization.metamodel")
    module.float = lambda value: builtins.float(np.asarray(value).reshape(-1)[0])
    try:
        yield
    finally:
        del module.float
