"""L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) as scipy has it, without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scipy.optimize import minimize

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check_count, check_positive
from optbench.optimizers.scipy_options import UNLIMITED


@dataclass(frozen=True)
class LBFGSB:
    """Limited-memory BFGS with its own line search, on the full batch."""

    memory: int = 10  # pairs of steps and gradient changes that model the curvature
    ftol: float = 0.0  # ends where a step lowers the loss by less than this share of it
    gtol: float = 1e-10  # ends where no entry of the gradient is larger

    needs: ClassVar[str] = "grad"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("memory", self.memory, 1)
        check_positive("ftol", self.ftol, zero=True)
        check_positive("gtol", self.gtol, zero=True)

    def minimise(self, f: Objective) -> None:
        own = 12 * self.memory * f.dim + 8 * self.memory**3  # updates, Cauchy point and subspace (section 6)
        options: Any = {"maxcor": self.memory, "ftol": self.ftol, "gtol": self.gtol}
        options |= {"maxiter": UNLIMITED, "maxfun": UNLIMITED}
        minimize(arrays.value_and_grad(f, own), arrays.start(f), jac=True, method="L-BFGS-B", options=options)
