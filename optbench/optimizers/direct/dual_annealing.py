"""Dual annealing (Xiang et al. 1997) as scipy has it: generalised simulated annealing with local searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import Bounds, dual_annealing

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_positive
from optbench.optimizers.scipy_options import UNLIMITED, box


@dataclass(frozen=True)
class DualAnnealing:
    """In a box around initial networks."""

    temperature: float = 5230.0  # at the start
    local: bool = True  # L-BFGS-B on finite differences, D + 1 evaluations a gradient, where a point is promising
    reach: float = 5.0  # half the box, in standard deviations of initial networks

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True  # losses of different steps are compared

    def __post_init__(self) -> None:
        check(0.01 < self.temperature <= 5e4, "temperature", self.temperature, "above 0.01 and at most 50000")
        check(isinstance(self.local, bool), "local", self.local, "true or false")
        check_positive("reach", self.reach)

    def minimise(self, f: Objective) -> None:
        low, high = box(f, self.reach)
        dual_annealing(
            arrays.value(f, own=20 * f.dim),  # a draw of the heavy-tailed visiting distribution, folded into the box
            Bounds(low, high),
            x0=np.clip(arrays.start(f), low, high),
            initial_temp=self.temperature,
            no_local_search=not self.local,
            maxiter=UNLIMITED,
            maxfun=UNLIMITED,
            rng=np.random.default_rng(arrays.seed(f)),
        )
