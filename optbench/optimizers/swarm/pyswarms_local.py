"""LocalBestPSO of the package pyswarms (Miranda 2018): a particle follows the best of its nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optbench.core.objective import Objective
from optbench.optimizers.checks import check, check_count
from optbench.optimizers.swarm.pyswarms_run import check_swarm, run_swarm


@dataclass(frozen=True)
class LocalBest:
    """The k nearest are those in position, not in index. Its velocities start in [0, 1)."""

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
        check_swarm("pyswarms_local", self.swarm, {"w": self.w, "c1": self.c1, "c2": self.c2})
        check_count("k", self.k, 1)
        check(self.k <= self.swarm, "k", self.k, f"at most the {self.swarm} particles")
        check(self.p in (1, 2), "p", self.p, "1 or 2")

    def minimise(self, f: Objective) -> None:
        options = {"w": self.w, "c1": self.c1, "c2": self.c2, "k": self.k, "p": self.p}
        run_swarm(f, "LocalBestPSO", self.swarm, options)
