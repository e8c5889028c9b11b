"""GlobalBestPSO of the package pyswarms (Miranda 2018): every particle follows the best of the swarm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optbench.core.objective import Objective
from optbench.optimizers.swarm.pyswarms_run import check_swarm, run_swarm


@dataclass(frozen=True)
class GlobalBest:
    """Its velocities start in [0, 1)."""

    swarm: int = 30  # particles
    w: float = 0.72984  # inertia (constriction at phi = 4.1, Clerc & Kennedy 2002)
    c1: float = 1.49618  # pull of a particle's own best
    c2: float = 1.49618  # pull of the swarm's best

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_swarm("pyswarms", self.swarm, {"w": self.w, "c1": self.c1, "c2": self.c2})

    def minimise(self, f: Objective) -> None:
        run_swarm(f, "GlobalBestPSO", self.swarm, {"w": self.w, "c1": self.c1, "c2": self.c2})
