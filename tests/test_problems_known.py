"""The optima that problems state, checked against closed forms, linear programs and second-order solves."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from optbench.problems import PROBLEMS
from optbench.problems.functions import Function
from optbench.problems.line import Line, LineL1
from optbench.problems.logistic_cancer import PENALTY, LogisticCancer
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

FUNCTIONS = [name for name, entry in PROBLEMS.items() if entry.path.startswith("optbench.problems.functions:")]


def function(name: str) -> Function:
    module, attribute = PROBLEMS[name].path.split(":")
    return getattr(importlib.import_module(module), attribute)(**PROBLEMS[name].settings)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_optimum(name: str) -> None:
    """The stated value at the stated point, and nothing lower around it or anywhere in the box."""
    problem = function(name)
    at = torch.full((problem.dim,), problem.minimiser, dtype=torch.float64)
    assert problem.formula(at).item() == pytest.approx(problem.best.value, abs=1e-14)
    stream = torch.Generator().manual_seed(0)
    low, high = problem.box
    for scale in (1e-4, 1e-1, 1.0):
        near = at + scale * torch.randn(200, problem.dim, generator=stream, dtype=torch.float64)
        assert torch.vmap(problem.formula)(near).min() > problem.best.value
    draws = low + (high - low) * torch.rand(2000, problem.dim, generator=stream, dtype=torch.float64)
    assert torch.vmap(problem.formula)(draws).min() > problem.best.value


# by hand, in 2 dimensions: the formulas as the survey prints them
AT = {
    "sphere": ((1.0, 2.0), 5.0),
    "ellipsoid": ((2.0, 3.0), 4 + 9e6),
    "rosenbrock": ((-1.0, 2.0), 100 * (2 - 1) ** 2 + 4),
    "rastrigin": ((0.5, 1.0), 20 + 1.25 + 10 - 10),
    "ackley": ((1.0, 1.0), 20 + np.e - 20 * np.exp(-0.2) - np.e),
    "griewank": ((np.pi, 0.0), 1 + np.pi**2 / 4000 + 1),
}


@pytest.mark.parametrize("name", AT)
def test_function_value_by_hand(name: str) -> None:
    point, value = AT[name]
    assert function(f"{name}_2d").formula(torch.tensor(point, dtype=torch.float64)).item() == pytest.approx(value)


def test_rosenbrock_refuses_one_dimension() -> None:
    from optbench.problems.functions import Rosenbrock

    with pytest.raises(ValueError, match="rosenbrock: dim 1, at least 2"):
        Rosenbrock(dim=1)


def line_data() -> tuple[np.ndarray, np.ndarray]:
    x, y = (tensor.double().numpy() for tensor in Line().data().train)
    return np.column_stack([x[:, 0], np.ones(len(x))]), y[:, 0]


def test_line_optimum_in_closed_form() -> None:
    a, y = line_data()
    w = np.linalg.lstsq(a, y)[0]
    assert Line().best.value == pytest.approx(((a @ w - y) ** 2).mean(), rel=1e-9)


def test_line_l1_optimum_by_linear_programming() -> None:
    """min mean(e) with -e <= a w - y <= e."""
    a, y = line_data()
    n, eye = len(y), np.eye(len(y))
    solved = linprog(
        np.r_[0, 0, np.full(n, 1 / n)],
        A_ub=np.block([[a, -eye], [-a, -eye]]),
        b_ub=np.r_[y, -y],
        bounds=[(None, None)] * 2 + [(0, None)] * n,
    )
    assert solved.success and LineL1().best.value == pytest.approx(solved.fun, rel=1e-9)


def test_logistic_optimum_is_certified_and_agrees_with_scikit_learn() -> None:
    """Newton to a zero gradient; strong convexity bounds what is left to gain by |g|^2 / (2 mu)."""
    problem = LogisticCancer()
    x, y = problem.data().train
    x, y = x.double(), y.double()

    def objective(w: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(x @ w[:30] + w[30], y) + PENALTY / 2 * w[:30].square().sum()

    ridge = torch.full((31,), PENALTY, dtype=torch.float64)
    ridge[30] = 0  # the intercept is free
    a = torch.column_stack([x, torch.ones(len(x), dtype=torch.float64)])

    def derivatives(w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        p = torch.sigmoid(a @ w)
        return a.T @ (p - y) / len(a) + ridge * w, (a.T * (p * (1 - p))) @ a / len(a) + ridge.diag()

    w = torch.zeros(31, dtype=torch.float64)
    for _ in range(20):
        gradient, hessian = derivatives(w)
        w = w - torch.linalg.solve(hessian, gradient)
    gradient, hessian = derivatives(w)
    # the Hessian is Lipschitz, so on a ball this small around w its least eigenvalue keeps at least half its size
    least = torch.linalg.eigvalsh(hessian)[0].item()
    assert gradient.norm() ** 2 / least < 1e-20
    assert problem.best.value == pytest.approx(objective(w).item(), rel=1e-9)

    net = problem.network().double()
    with torch.no_grad():
        net.weight.copy_(w[:30])
        net.bias.copy_(w[30])
        assert problem.loss(net, (x, y)).item() == pytest.approx(problem.best.value, rel=1e-9)

    model = LogisticRegression(C=1 / (PENALTY * len(x)), tol=1e-9, max_iter=5000).fit(x.numpy(), y.numpy())
    theirs = torch.tensor(np.r_[model.coef_[0], model.intercept_])
    assert objective(theirs).item() == pytest.approx(problem.best.value, rel=1e-8)
