"""Every lower bound that is built in, computed again by other means: exhaustive search, linear programs, dual bounds.

A certificate's upper bound is checked by the objective with a forward pass. Its lower bound is a claim about all other
networks, so here it is derived anew, without the recursions of the exact methods and without their tables of costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import torch
from helpers.dp_cases import Small, solved
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize, minimize_scalar

from optbench.core.problem import Problem
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.optimizers.exact.dp_step import DPStep
from optbench.problems.line import Line, LineL1
from optbench.problems.logistic_cancer import PENALTY, LogisticCancer
from optbench.problems.sine_grid import SineGrid
from optbench.problems.step_1d import Step1d
from optbench.problems.step_bmi import StepBmi, StepBmiClasses

Array = NDArray[np.float64]


def total(loss: str, y: Array) -> float:
    """The least total loss of one constant on the targets y (N,)."""
    if loss == "mse":
        return float(((y - y.mean()) ** 2).sum())
    if loss == "l1":
        return float(np.abs(y - np.median(y)).sum())
    shares = np.unique(y, return_counts=True)[1] / len(y)  # cross-entropy, and BCE on targets 0 and 1
    return float(-len(y) * (shares * np.log(shares)).sum())


# dp_step: all real weights of a 1-K-1 network of hard steps


def least_over_patterns(x: Array, y: Array, units: int, loss: str) -> float:
    """The least mean loss over all real weights, from what the units can answer on the data, with no segmentation.

    Whatever its weights, step(w x + b) is 1 on a prefix or on a suffix of the sorted inputs, on all, or on none. For
    every choice of such answers, the output layer is fitted to them: by least squares, or by a linear program.
    """
    levels = np.unique(x)
    answers = {tuple((x >= t) * 1.0) for t in [*levels, math.inf]} | {tuple((x < t) * 1.0) for t in levels}
    found = math.inf
    for chosen in combinations(sorted(answers), units):
        design = np.column_stack([*chosen, np.ones(len(x))])
        if loss == "mse":
            fitted = design @ np.linalg.lstsq(design, y)[0]
            found = min(found, float(((fitted - y) ** 2).mean()))
            continue
        n, (_, d) = len(y), design.shape
        eye = np.eye(n)
        solution = linprog(
            np.r_[np.zeros(d), np.full(n, 1 / n)],
            A_ub=np.block([[design, -eye], [-design, -eye]]),
            b_ub=np.r_[y, -y],
            bounds=[(None, None)] * d + [(0, None)] * n,
        )
        found = min(found, float(solution.fun))
    return found


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_step_networks_against_every_answer_of_their_units(seed: int, units: int, loss: str) -> None:
    draw = np.random.default_rng(seed)
    x, y = draw.integers(0, 5, 7).astype(float), draw.normal(size=7)
    problem = Small(torch.tensor(x)[:, None], torch.tensor(y)[:, None], (1, units, 1), "step", loss)
    certificate = solved(problem, DPStep())
    assert certificate.exact
    assert certificate.lower == pytest.approx(least_over_patterns(x, y, units, loss), abs=1e-9)


def dual_bound(x: Array, y: Array, breaks: int, loss: str, prices: Array) -> float:
    """A lower bound on the mean loss with at most so many breaks: Lagrangian duality, at the best of the prices.

    For every price p >= 0 a break, min over all segmentations of (loss + p x breaks) - p x (breaks allowed) is below
    the optimum. With a price no one counts breaks: F[j] = min_i F[i] + C(i, j) + p.
    """
    order = np.argsort(x, kind="stable")
    y = y[order]
    ends = [0, *(np.flatnonzero(np.diff(x[order])) + 1), len(x)]
    costs = {(i, j): total(loss, y[ends[i] : ends[j]]) for j in range(len(ends)) for i in range(j)}
    best = -math.inf
    for price in prices:
        least = [-price]  # the first segment needs no break
        for j in range(1, len(ends)):
            least.append(min(least[i] + costs[i, j] + price for i in range(j)))
        best = max(best, (least[-1] - price * breaks) / len(y))
    return best


STATED: list[tuple[Problem, int, str, float]] = [
    (Step1d(7), 7, "mse", 2e-2),
    (StepBmi(4), 4, "l1", 2e-2),
    (StepBmiClasses(4), 4, "cross-entropy", 2e-2),
]


@pytest.mark.parametrize(
    ("problem", "breaks", "loss", "gap"), STATED, ids=lambda v: type(v).__name__ if isinstance(v, Problem) else str(v)
)
def test_stated_step_optima_against_a_dual_bound(problem: Problem, breaks: int, loss: str, gap: float) -> None:
    """The bound proves the stated optimum from below, up to the gap of the duality."""
    train = problem.data().train
    x, y = (tensor.double().numpy().reshape(len(tensor)) for tensor in train)
    bound = dual_bound(x, y, breaks, loss, np.geomspace(0.1, 100, 25))
    assert bound <= problem.best.value * (1 + 1e-9)
    assert bound >= problem.best.value * (1 - gap)


@pytest.mark.parametrize("loss", ["mse", "l1", "bce"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_smooth_networks_against_the_best_constant_at_each_input(activation: str, loss: str) -> None:
    """No function of the input goes below the best constant at each input, here by scalar minimisation."""
    draw = np.random.default_rng(5)
    x = draw.integers(0, 3, 9).astype(float)
    y = draw.integers(0, 2, 9).astype(float) if loss == "bce" else draw.normal(size=9)
    single: dict[str, Callable[[float, Array], float]] = {
        "mse": lambda c, t: float(((c - t) ** 2).sum()),
        "l1": lambda c, t: float(np.abs(c - t).sum()),
        "bce": lambda c, t: float((np.logaddexp(0, c) - c * t).sum()),
    }
    least = sum(
        minimize_scalar(
            single[loss], args=(y[x == at],), bounds=(-40, 40), method="bounded", options={"xatol": 1e-9}
        ).fun
        for at in np.unique(x)
    )
    problem = Small(torch.tensor(x)[:, None], torch.tensor(y)[:, None], (1, 4, 1), activation, loss)
    certificate = solved(problem, DPStep())
    assert certificate.lower == pytest.approx(least / 9, abs=1e-7)
    assert certificate.upper >= certificate.lower


# dp_grid: all weights on a grid, tried one by one in plain Python


SCALAR: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0.0),
    "sign": lambda z: 1.0 if z >= 0 else -1.0,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
}


def least_on_grid(
    x: list[list[float]], y: list[float], units: int, activation: str, loss: str, grid: list[float]
) -> float:
    """The least mean loss of an I-K-1 network over all weights on the grid."""
    inputs = len(x[0])
    answers = []  # of a hidden unit, on all samples
    for weights in product(grid, repeat=inputs + 1):
        z = [sum(w * v for w, v in zip(weights, row, strict=False)) + weights[-1] for row in x]
        answers.append([SCALAR[activation](value) for value in z])
    found = math.inf
    for hidden in product(answers, repeat=units):
        for outer in product(grid, repeat=units + 1):
            error = 0.0
            for n, target in enumerate(y):
                out = sum(v * unit[n] for v, unit in zip(outer, hidden, strict=False)) + outer[-1]
                if loss == "mse":
                    error += (out - target) ** 2
                else:
                    error += math.log1p(math.exp(-abs(out))) + max(out, 0.0) - out * target
            found = min(found, error / len(y))
    return found


GRIDS = [
    (1, 2, "tanh", "mse", [-1.5, 0.25, 1.0]),
    (2, 1, "relu", "mse", [-1.0, -0.5, 0.0, 2.0]),
    (1, 2, "sign", "bce", [-2.0, 0.0, 1.0]),
    (2, 1, "sigmoid", "bce", [-3.0, 0.5, 1.0]),
]


@pytest.mark.parametrize("beam", [0, 1, 3])
@pytest.mark.parametrize(("inputs", "units", "activation", "loss", "grid"), GRIDS)
def test_grid_networks_against_trying_them_all(
    inputs: int, units: int, activation: str, loss: str, grid: list[float], beam: int
) -> None:
    """Exact without a beam; with one, an interval that holds the optimum."""
    draw = np.random.default_rng(11)
    x = draw.normal(size=(5, inputs))
    y = draw.integers(0, 2, 5).astype(float) if loss == "bce" else draw.normal(size=5)
    least = least_on_grid(x.tolist(), y.tolist(), units, activation, loss, grid)
    problem = Small(torch.tensor(x), torch.tensor(y)[:, None], (inputs, units, 1), activation, loss, grid=tuple(grid))
    certificate = solved(problem, DPGrid(beam=beam))
    assert certificate.lower <= least + 1e-12 and least <= certificate.upper + 1e-12
    if certificate.exact or not beam:
        assert certificate.lower == pytest.approx(least, abs=1e-12)


def test_the_sine_optimum_on_the_grid_of_two_units() -> None:
    """A 1-2-1 network over -2..2: 5^7 networks, tried one by one."""
    problem = SineGrid(K=2, L=2)
    x, y = (tensor[:, 0].tolist() for tensor in problem.data().train)
    certificate = solved(problem, DPGrid())
    values = np.array(problem.grid)
    w, b = (part.ravel() for part in np.meshgrid(values, values))
    unit = np.tanh(np.outer(w, x) + b[:, None])  # (25, 16)
    least = min(
        float(((v * unit[i] + u * unit[j] + c - y) ** 2).mean())
        for i in range(25)
        for j in range(25)
        for v, u, c in product(values, repeat=3)
    )
    assert certificate.exact and certificate.lower == pytest.approx(least, abs=1e-12)


# Convex problems: the stated optimum against a point of the dual, which proves it from below


def line_table() -> tuple[Array, Array]:
    x, y = (tensor.double().numpy()[:, 0] for tensor in Line().data().train)
    return x, y


def test_line_mse_against_exact_rational_arithmetic() -> None:
    """min mean (a x + b - y)^2 = var(y) - cov(x, y)^2 / var(x), in fractions: not one rounding error."""
    x, y = ([Fraction(value) for value in part.tolist()] for part in line_table())
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    xx, xy, yy = (
        sum((a - c) * (b - d) for a, b in zip(p, q, strict=True)) / n
        for p, c, q, d in ((x, mean_x, x, mean_x), (x, mean_x, y, mean_y), (y, mean_y, y, mean_y))
    )
    assert Line().best.value == pytest.approx(float(yy - xy * xy / xx), rel=1e-11)


def test_line_l1_against_its_dual() -> None:
    """Any u with |u_i| <= 1/n, sum u = 0 and sum u x = 0 proves that no line has a mean error below sum u y."""
    x, y = line_table()
    n = len(x)
    a = np.stack([x, np.ones(n)])
    u = linprog(-y, A_eq=a, b_eq=[0, 0], bounds=[(-1 / n, 1 / n)] * n).x
    u = u - a.T @ np.linalg.solve(a @ a.T, a @ u)  # feasible to the last bits, then shrunk into the box
    u /= max(1.0, n * np.abs(u).max())
    assert np.abs(a @ u).max() < 1e-14
    bound = float(u @ y)
    assert bound <= LineL1().best.value * (1 + 1e-11)
    assert bound == pytest.approx(LineL1().best.value, rel=1e-9)


def test_logistic_against_its_fenchel_dual() -> None:
    """Ridge logistic regression with a free intercept. With signs s = 2 y - 1 and any a in [0, 1]^n, sum a s = 0,

    mean H(a) - |X^T (a s) / n|^2 / (2 penalty), H the binary entropy, is a lower bound; it meets the optimum.
    """
    x, y = (tensor.double().numpy() for tensor in LogisticCancer().data().train)
    s, n = 2 * y - 1, len(y)

    def primal(w: Array) -> tuple[float, Array]:
        margin = s * (x @ w[:-1] + w[-1])
        slope = -s / (1 + np.exp(margin)) / n
        loss = np.logaddexp(0, -margin).mean() + PENALTY / 2 * (w[:-1] ** 2).sum()
        return float(loss), np.r_[x.T @ slope + PENALTY * w[:-1], slope.sum()]

    w = minimize(primal, np.zeros(x.shape[1] + 1), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 5000}).x
    a = 1 / (1 + np.exp(s * (x @ w[:-1] + w[-1])))
    more, less = (1.0, -1.0) if a[s > 0].sum() > a[s < 0].sum() else (-1.0, 1.0)
    a[s == more] *= a[s == less].sum() / a[s == more].sum()  # sum a s = 0
    assert (a > 0).all() and (a < 1).all() and abs(float(a @ s)) < 1e-12
    entropy = -(a * np.log(a) + (1 - a) * np.log(1 - a)).mean()
    bound = float(entropy - ((x.T @ (a * s) / n) ** 2).sum() / (2 * PENALTY))
    stated = LogisticCancer().best.value
    assert bound <= stated * (1 + 1e-9)
    assert bound == pytest.approx(stated, rel=1e-6)
