"""Differential evolution (Storn & Price 1997) as scipy has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import Bounds, differential_evolution

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_positive
from optbench.optimizers.scipy_options import UNLIMITED, box


@dataclass(frozen=True)
class DifferentialEvolution:
    """best/1/bin with dithered steps, in a box around initial networks."""

    population: int = 30  # members
    recombination: float = 0.7  # share of a member's parameters that a trial replaces
    reach: float = 5.0  # half the box, in standard deviations of initial networks

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True  # members keep their loss for as long as they survive

    def __post_init__(self) -> None:
        check_count("population", self.population, 5)
        check(0 <= self.recombination <= 1, "recombination", self.recombination, "from 0 to 1")
        check_positive("reach", self.reach)

    def minimise(self, f: Objective) -> None:
        losses = arrays.values(f, own=6 * f.dim)  # a difference, its step, the sum, a draw and a choice, the box
        low, high = box(f, self.reach)

        def columns(x: Any) -> Any:
            """(D, P) -> (P,), as scipy hands a population over; (D,) -> a number."""
            return losses(x.T) if x.ndim == 2 else losses(x[None])[0]

        differential_evolution(
            columns,
            Bounds(low, high),
            init=np.clip(arrays.start(f, self.population), low, high),
            recombination=self.recombination,
            maxiter=UNLIMITED,
            tol=0,
            polish=False,
            vectorized=True,
            updating="deferred",
            rng=np.random.default_rng(arrays.seed(f)),
        )
