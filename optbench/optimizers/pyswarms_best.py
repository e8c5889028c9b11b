"""pyswarms' GlobalBestPSO and LocalBestPSO (Miranda 2018), as they stand except for what a benchmark must hold.

Held: the seed (pyswarms draws from NumPy's global generator), its logging (a report.log in the working directory, root
handlers, a progress bar) and its histories (positions and velocities of every iteration, never freed).
"""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from optbench.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_package, check_positive


@dataclass(frozen=True)
class GlobalBestPSO:
    """pyswarms.single.GlobalBestPSO: every particle follows the best of the swarm. Its velocities start in [0, 1)."""

    particles: int = 30  # swarm size
    w: float = 0.72984  # inertia (constriction at phi = 4.1, Clerc & Kennedy 2002)
    c1: float = 1.49618  # pull of a particle's own best
    c2: float = 1.49618  # pull of the swarm's best

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False
    package: ClassVar[str] = "pyswarms"

    def __post_init__(self) -> None:
        check_package("pyswarms_gbest", self.package)
        _check_swarm(self)

    def minimise(self, f: Objective) -> None:
        _run(f, "GlobalBestPSO", self.particles, {"w": self.w, "c1": self.c1, "c2": self.c2})


@dataclass(frozen=True)
class LocalBestPSO:
    """pyswarms.single.LocalBestPSO: a particle follows the best of its k nearest in position, not in index."""

    particles: int = 30  # swarm size
    w: float = 0.72984  # inertia (constriction at phi = 4.1, Clerc & Kennedy 2002)
    c1: float = 1.49618  # pull of a particle's own best
    c2: float = 1.49618  # pull of the neighbourhood's best
    k: int = 3  # neighbours, the particle included
    p: int = 2  # norm that says who is near: 1 or 2

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False
    package: ClassVar[str] = "pyswarms"

    def __post_init__(self) -> None:
        check_package("pyswarms_lbest", self.package)
        _check_swarm(self)
        check_count("k", self.k, 1)
        check(self.k <= self.particles, "k", self.k, f"at most the {self.particles} particles")
        check(self.p in (1, 2), "p", self.p, "1 or 2")

    def minimise(self, f: Objective) -> None:
        options = {"w": self.w, "c1": self.c1, "c2": self.c2, "k": self.k, "p": self.p}
        _run(f, "LocalBestPSO", self.particles, options)


def _check_swarm(swarm: GlobalBestPSO | LocalBestPSO) -> None:
    check_count("particles", swarm.particles, 2)
    for name in ("w", "c1", "c2"):
        check_positive(name, getattr(swarm, name), zero=True)


def _run(f: Objective, kind: str, particles: int, options: dict[str, float]) -> None:
    with _quiet(), arrays.global_state(arrays.seed(f)):
        from pyswarms import single

        swarm = getattr(single, kind)(particles, f.dim, options, init_pos=arrays.start(f, particles))
        swarm._populate_history = _forget
        swarm.optimize(arrays.values(f), iters=sys.maxsize, verbose=False)


def _forget(_: Any) -> None:
    """Takes the place of the history, which would hold every position of the run, and of the logging setup."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pyswarms, whose import already does it, from opening ./report.log and adding handlers to the root logger."""
    configure = logging.config.dictConfig
    logging.config.dictConfig = _forget
    try:
        yield
    finally:
        logging.config.dictConfig = configure
