"""pyswarms' GlobalBestPSO and LocalBestPSO (Miranda 2018), as they stand except for what a benchmark must hold.

Held: the seed (pyswarms draws from NumPy's global generator), its logging (a report.log in the working directory, root
handlers, a progress bar) and its histories (positions and velocities of every iteration, never freed).
"""

from __future__ import annotations

import logging.config
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar
from unittest.mock import patch

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_package, check_positive


@dataclass(frozen=True)
class GlobalBest:
    """pyswarms.single.GlobalBestPSO: every particle follows the best of the swarm. Its velocities start in [0, 1)."""

    swarm: int = 30  # particles
    w: float = 0.72984  # inertia (constriction at phi = 4.1, Clerc & Kennedy 2002)
    c1: float = 1.49618  # pull of a particle's own best
    c2: float = 1.49618  # pull of the swarm's best

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_package("pyswarms_gbest", "pyswarms")
        _check_swarm(self)

    def minimise(self, f: Objective) -> None:
        _run(f, "GlobalBestPSO", self.swarm, {"w": self.w, "c1": self.c1, "c2": self.c2})


@dataclass(frozen=True)
class LocalBest:
    """pyswarms.single.LocalBestPSO: a particle follows the best of its k nearest in position, not in index."""

    swarm: int = 30  # particles
    w: float = 0.72984  # inertia (constriction at phi = 4.1, Clerc & Kennedy 2002)
    c1: float = 1.49618  # pull of a particle's own best
    c2: float = 1.49618  # pull of the neighbourhood's best
    k: int = 3  # neighbours, the particle included
    p: int = 2  # norm that says who is near: 1 or 2

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_package("pyswarms_lbest", "pyswarms")
        _check_swarm(self)
        check_count("k", self.k, 1)
        check(self.k <= self.swarm, "k", self.k, f"at most the {self.swarm} particles")
        check(self.p in (1, 2), "p", self.p, "1 or 2")

    def minimise(self, f: Objective) -> None:
        options = {"w": self.w, "c1": self.c1, "c2": self.c2, "k": self.k, "p": self.p}
        _run(f, "LocalBestPSO", self.swarm, options)


def _check_swarm(swarm: GlobalBest | LocalBest) -> None:
    check_count("swarm", swarm.swarm, 2)
    for name in ("w", "c1", "c2"):
        check_positive(name, getattr(swarm, name), zero=True)


def _run(f: Objective, kind: str, particles: int, options: dict[str, float]) -> None:
    # Importing pyswarms already configures logging, and so does every object of it that reports.
    with patch.object(logging.config, "dictConfig", _forget), arrays.global_state(arrays.seed(f)):
        single = import_module("pyswarms.single")
        swarm = getattr(single, kind)(particles, f.dim, options, init_pos=arrays.start(f, particles))
        swarm._populate_history = _forget
        swarm.optimize(arrays.values(f), iters=sys.maxsize, verbose=False)


def _forget(_: Any) -> None:
    """Takes the place of the logging setup and of the history, which would hold every position of the run."""
