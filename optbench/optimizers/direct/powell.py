"""Powell's method (1964) as scipy has it: line searches along directions that become conjugate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scipy.optimize import minimize

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check_positive
from optbench.optimizers.scipy_options import UNLIMITED


@dataclass(frozen=True)
class Powell:
    """On the full batch; a round takes D or more evaluations."""

    xtol: float = 1e-8  # of a line search
    ftol: float = 1e-12  # ends where a round lowers the loss by less than this share of it

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("xtol", self.xtol)
        check_positive("ftol", self.ftol, zero=True)

    def minimise(self, f: Objective) -> None:
        options: Any = {"xtol": self.xtol, "ftol": self.ftol, "maxiter": UNLIMITED, "maxfev": UNLIMITED}
        minimize(arrays.value(f, own=2 * f.dim), arrays.start(f), method="Powell", options=options)
