"""scipy.optimize.minimize as it stands: L-BFGS-B with gradients, Nelder-Mead without."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

from scipy.optimize import minimize

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_positive

LARGEST_SIMPLEX = 1 << 30  # bytes

NEVER = sys.maxsize >> 33  # iterations: the budget ends the run, not scipy (its compiled code counts in 32 bits)


@dataclass(frozen=True)
class LBFGSB:
    """L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) with its own line search, on the full batch, without bounds."""

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
        options: Any = {"maxcor": self.memory, "ftol": self.ftol, "gtol": self.gtol}
        options |= {"maxiter": NEVER, "maxfun": NEVER}
        minimize(arrays.value_and_grad(f), arrays.start(f), jac=True, method="L-BFGS-B", options=options)


@dataclass(frozen=True)
class NelderMead:
    """The simplex of Nelder & Mead (1965), by default with the coefficients of Gao & Han (2012) for many dimensions."""

    adaptive: bool = True  # coefficients that depend on the dimension
    xatol: float = 1e-10  # ends where the simplex is smaller than this and
    fatol: float = 1e-10  # its losses differ by less than this

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(isinstance(self.adaptive, bool), "adaptive", self.adaptive, "true or false")
        check_positive("xatol", self.xatol, zero=True)
        check_positive("fatol", self.fatol, zero=True)

    def minimise(self, f: Objective) -> None:
        if (size := 8 * f.dim * (f.dim + 1)) > LARGEST_SIMPLEX:
            raise Inapplicable(
                f"a simplex in D = {f.dim} takes {size / 2**30:.1f} GiB, {LARGEST_SIMPLEX / 2**30:.0f} at most: "
                "use particle_swarm or spsa"
            )
        options: Any = {"adaptive": self.adaptive, "xatol": self.xatol, "fatol": self.fatol}
        options |= {"maxiter": NEVER, "maxfev": NEVER}
        minimize(arrays.value(f), arrays.start(f), method="Nelder-Mead", options=options)
