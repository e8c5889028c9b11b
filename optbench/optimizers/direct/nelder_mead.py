"""The simplex of Nelder & Mead (1965) as scipy has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scipy.optimize import minimize

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_positive
from optbench.optimizers.scipy_options import UNLIMITED

MAX_SIMPLEX = 1 << 30  # bytes


@dataclass(frozen=True)
class NelderMead:
    """By default with the coefficients of Gao & Han (2012) for many dimensions, on the full batch."""

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
        if (size := 8 * f.dim * (f.dim + 1)) > MAX_SIMPLEX:
            raise Inapplicable(
                f"a simplex in D = {f.dim} takes {size / 2**30:.1f} GiB, {MAX_SIMPLEX / 2**30:.0f} at most: "
                "use pso or spsa"
            )
        own = f.dim**2 + 4 * f.dim  # the centroid of D corners, and a point on the line through it
        options: Any = {"adaptive": self.adaptive, "xatol": self.xatol, "fatol": self.fatol}
        options |= {"maxiter": UNLIMITED, "maxfev": UNLIMITED}
        minimize(arrays.value(f, own), arrays.start(f), method="Nelder-Mead", options=options)
