"""scipy's searches without gradients beside Nelder-Mead: Powell, differential evolution, dual annealing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import Bounds, differential_evolution, dual_annealing, minimize

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_positive
from optbench.optimizers.quasi_newton.scipy_minimize import NEVER


@dataclass(frozen=True)
class Powell:
    """Line searches along directions that become conjugate (Powell 1964); D or more evaluations a turn."""

    xtol: float = 1e-8  # of a line search
    ftol: float = 1e-12  # ends where a round lowers the loss by less than this share of it

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("xtol", self.xtol)
        check_positive("ftol", self.ftol, zero=True)

    def minimise(self, f: Objective) -> None:
        options: Any = {"xtol": self.xtol, "ftol": self.ftol, "maxiter": NEVER, "maxfev": NEVER}
        minimize(arrays.value(f), arrays.start(f), method="Powell", options=options)


@dataclass(frozen=True)
class DifferentialEvolution:
    """Differential evolution (Storn & Price 1997), best/1/bin with dithered steps, in a box around initial networks."""

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
        losses = arrays.values(f)
        box = _box(f, self.reach)

        def columns(x: Any) -> Any:
            """(D, P) -> (P,), as scipy hands a population over; (D,) -> a number."""
            return losses(x.T) if x.ndim == 2 else losses(x[None])[0]

        differential_evolution(
            columns,
            Bounds(*box),
            init=np.clip(arrays.start(f, self.population), *box),
            recombination=self.recombination,
            maxiter=NEVER,
            tol=0,
            polish=False,
            vectorized=True,
            updating="deferred",
            rng=np.random.default_rng(arrays.seed(f)),
        )


@dataclass(frozen=True)
class DualAnnealing:
    """Generalised simulated annealing (Xiang et al. 1997) with local searches, in a box around initial networks."""

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
        box = _box(f, self.reach)
        dual_annealing(
            arrays.value(f),
            Bounds(*box),
            x0=np.clip(arrays.start(f), *box),
            initial_temp=self.temperature,
            no_local_search=not self.local,
            maxiter=NEVER,
            maxfun=NEVER,
            rng=np.random.default_rng(arrays.seed(f)),
        )


def _box(f: Objective, reach: float) -> tuple[arrays.Array, arrays.Array]:
    """Lower and upper bounds (D,): the mean of initial networks, give or take `reach` deviations (never none)."""
    x = arrays.start(f, 32)
    centre, spread = x.mean(0), x.std(0, ddof=1)
    half = reach * np.where(spread > 0, spread, arrays.spread(f))
    return centre - half, centre + half
