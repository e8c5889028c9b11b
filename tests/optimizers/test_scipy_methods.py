"""scipy's methods through the meter: the library's own trajectory, every call counted, ended by either."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.recording import Formula, run
from scipy.optimize import minimize, rosen, rosen_der
from torch import Tensor

from optbench.core.objective import Inapplicable, Objective, Stop
from optbench.engine.metered import metered, metered_as
from optbench.optimizers.direct.nelder_mead import NelderMead
from optbench.optimizers.quasi_newton.scipy_lbfgsb import LBFGSB


def rosenbrock(x: Tensor) -> Tensor:
    return (100 * (x[1:] - x[:-1].square()).square() + (1 - x[:-1]).square()).sum()


VALLEY = Formula(rosenbrock, dim=4, low=-2, high=2)


class Traced(Objective):
    """Keeps the points of value_and_grad."""

    asked: list[Tensor]

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.asked = [*getattr(self, "asked", []), x[0].clone()]
        return super().value_and_grad(x)


def test_lbfgsb_asks_what_scipy_asks_and_ends_where_scipy_ends() -> None:
    f = metered_as(Traced, VALLEY, [0], 10_000)
    LBFGSB().minimise(f)  # returns: scipy converges long before the budget
    f.finish()
    theirs = []

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        theirs.append(x.copy())
        return rosen(x), rosen_der(x)

    start = f.start()[0].numpy()
    options = {"maxcor": 10, "ftol": 0.0, "gtol": 1e-10}
    found = minimize(both, start, jac=True, method="L-BFGS-B", options=options)
    # Two ways to round the same loss and gradient: the same path, until rounding has grown.
    assert np.allclose(torch.stack(f.asked[:20]).numpy(), theirs[:20], rtol=1e-8)
    assert f.finish().curves[0][-1]["loss"] < 1e-15 and found.fun < 1e-15
    assert f.spent.evaluations == len(f.asked) and f.spent.forward == f.spent.backward == len(f.asked)


def test_nelder_mead_asks_what_scipy_asks() -> None:
    f = run(NelderMead(), VALLEY, 150)
    theirs: list[np.ndarray] = []

    def value(x: np.ndarray) -> float:
        theirs.append(x.copy())
        return float(rosenbrock(torch.tensor(x)))

    minimize(value, f.start()[0].numpy(), method="Nelder-Mead", options={"adaptive": True, "maxfev": 150})
    assert np.array_equal(torch.cat([p[0] for p in f.points[:150]]).numpy(), theirs[:150])
    assert f.spent.evaluations == 150 and f.spent.refused == 0


def test_nelder_mead_ends_by_itself_at_the_optimum() -> None:
    f = metered(VALLEY, [1], 5000)
    NelderMead().minimise(f)
    f.finish()
    assert f.spent.evaluations < 5000
    assert f.finish().curves[0][-1]["loss"] < 1e-15


def test_the_budget_ends_them_in_the_middle_of_a_line_search_or_a_shrink() -> None:
    with pytest.raises(Stop):
        LBFGSB().minimise(f := metered(VALLEY, [0], 41))
    assert f.spent.passes <= 41 and f.spent.refused == 0
    with pytest.raises(Stop):
        NelderMead().minimise(g := metered(VALLEY, [0], 7))
    assert g.spent.evaluations == 7


def test_a_step_into_nan_is_survived() -> None:
    def walled(x: Tensor) -> Tensor:
        return torch.log(x).square().sum()  # NaN below 0

    for optimizer in (LBFGSB(), NelderMead()):
        f = run(optimizer, Formula(walled, dim=3, low=4, high=6), 400)
        assert f.finish().curves[0][-1]["loss"] < 1e-8


def test_a_simplex_that_would_not_fit_is_refused() -> None:
    with pytest.raises(Inapplicable, match=r"D = 20000 takes 3\.0 GiB, 1 at most: use pso"):
        run(NelderMead(), Formula(rosenbrock, dim=20_000), 10)


@pytest.mark.parametrize("settings", [{"memory": 0}, {"memory": 2.5}, {"ftol": -1.0}, {"gtol": float("nan")}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        LBFGSB(**settings)
    with pytest.raises(ValueError, match="adaptive='no'"):
        NelderMead(**{"adaptive": "no"})
