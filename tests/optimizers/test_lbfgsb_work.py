"""The own work of scipy's L-BFGS-B: its formulas against the algorithm written out, and the pairs that it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.optimizers.arrays import Array
from optbench.optimizers.quasi_newton.scipy_lbfgsb import MAX_SEARCH, Pairs, iteration_work
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog


class Count:
    """Adds up what it computes."""

    def __init__(self) -> None:
        self.flops = 0.0

    def dot(self, a: Array, b: Array) -> float:
        self.flops += 2 * len(a)
        return float(a @ b)

    def factor(self, matrix: Array) -> Array:
        self.flops += len(matrix) ** 3 / 3
        return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)

    def solve(self, triangle: Array, b: Array) -> Array:
        self.flops += len(triangle) * b.size
        return np.asarray(np.linalg.solve(triangle, b), dtype=np.float64)


def direction(count: Count, s: Array, y: Array, g: Array) -> Array:
    """-H g from the pairs (h, n), as scipy's routines matupd, formt, formk and subsm compute it without bounds.

    Products of pairs with one another that an earlier iteration has made are taken for granted.
    """
    h, n = s.shape
    r, theta = -g, count.dot(y[-1], y[-1]) / float(y[-1] @ s[-1])
    sy, ss, yy = s @ y.T, s @ s.T, y @ y.T
    for j in range(h - 1):  # matupd
        sy[-1, j], ss[j, -1] = count.dot(s[-1], y[j]), count.dot(s[j], s[-1])
    t = theta * ss  # formt: theta S'S + L D^-1 L'
    for i in range(h):
        for j in range(i, h):
            t[i, j] = t[j, i] = t[i, j] + sum(sy[i, k] * sy[j, k] / sy[k, k] for k in range(i))
            count.flops += 3 * i + 2
    count.factor(t)
    for j in range(h):  # formk
        yy[-1, j], sy[j, -1] = count.dot(y[-1], y[j]), count.dot(s[j], y[-1])
    root = count.factor(np.diag(np.diag(sy)) + yy / theta)
    corner = count.solve(root, np.triu(sy).T)
    inner = corner.T @ corner
    count.flops += h * (h + 1) / 2 * 2 * h  # of its upper triangle
    other = count.factor(inner)
    triangle = np.block([[root, np.zeros((h, h))], [corner.T, other]])
    wr = np.array([count.dot(v, r) for v in y] + [theta * count.dot(v, r) for v in s])  # subsm
    v = count.solve(triangle, wr)
    v[:h] = -v[:h]
    v = count.solve(triangle.T, v)
    out = r.copy()
    for k in range(h):
        out = out + y[k] * v[k] / theta + s[k] * v[h + k]
        count.flops += 5 * n
    count.flops += n
    return np.asarray(out / theta)


@pytest.mark.parametrize("held", [1, 2, 5, 12])
def test_an_iteration_costs_what_the_algorithm_written_out_computes(held: int) -> None:
    """The direction is that of BFGS's dense inverse, so what was counted is the method and not something cheaper."""
    rng, n = np.random.default_rng(held), 60
    root = rng.normal(size=(n, n))
    curvature = root @ root.T + np.eye(n)
    s = rng.normal(size=(held, n))
    y, g = s @ curvature, rng.normal(size=n)
    inverse = np.eye(n) * float(s[-1] @ y[-1]) / float(y[-1] @ y[-1])
    for one, two in zip(s, y, strict=True):
        turn = np.eye(n) - np.outer(one, two) / float(one @ two)
        inverse = turn @ inverse @ turn.T + np.outer(one, one) / float(one @ two)
    found = direction(count := Count(), s, y, g)
    np.testing.assert_allclose(found, -inverse @ g, rtol=1e-6, atol=1e-8)
    beside = 9 * n  # the slope, two norms, differences and the move, which the routine above leaves out
    assert count.flops + beside == pytest.approx(iteration_work(n, held), rel=0.03)


@pytest.mark.parametrize("memory", [3, 10, 30])
@pytest.mark.parametrize("iterations", [1, 8, 25])
def test_the_pairs_are_those_that_scipy_holds(memory: int, iterations: int) -> None:
    pairs = Pairs(12, memory)
    held = []

    def loss(x: Array) -> tuple[float, Array]:
        pairs.before_evaluation()
        held.append(pairs.held)
        return rosen(x), rosen_der(x)

    start = np.random.default_rng(0).normal(size=12)
    options: Any = {"maxcor": memory, "maxiter": iterations}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options, callback=pairs.after_iteration)
    assert found.nit == iterations and found.nfev == len(held)
    assert held[-1] == found.hess_inv.n_corrs == min(memory, iterations - 1)  # after the last one it updates no more


def test_a_line_search_that_finds_nothing_forgets_the_pairs() -> None:
    """After the sixth step the loss rises whatever the slope says: after 20 trials scipy forgets and starts anew."""
    pairs, asked, held = Pairs(6, 5), [], []

    def loss(x: Array) -> tuple[float, Array]:
        pairs.before_evaluation()
        asked.append(x.copy())
        held.append(pairs.held)
        if len(kept) < 6:
            return rosen(x), rosen_der(x)
        return rosen(kept[-1]) + float(np.linalg.norm(x - kept[-1])), rosen_der(kept[-1])

    kept: list[Array] = []

    def accepted(x: Array) -> None:
        kept.append(x.copy())
        pairs.after_iteration(x)

    start, options = np.random.default_rng(1).normal(size=6), {"maxcor": 5, "maxls": MAX_SEARCH}
    minimize(loss, start, jac=True, method="L-BFGS-B", options=options, callback=accepted)
    first = len(asked) - 2 * MAX_SEARCH  # 20 trials with the pairs, 20 down the gradient, and it gives up
    assert held[first] == 5 and held[first + MAX_SEARCH - 1] == 5
    assert set(held[first + MAX_SEARCH :]) == {0}
    step, slope = asked[first + MAX_SEARCH] - kept[-1], rosen_der(kept[-1])
    cosine = float(step @ slope) / float(np.linalg.norm(step) * np.linalg.norm(slope))
    assert cosine == pytest.approx(-1.0)


def record(memory: int) -> Record:
    trial = Trial("mlp_digits", "scipy_lbfgsb", (("memory", memory),), 0, 60.0)
    return run_group([trial], Catalog())[0]


def test_room_for_more_pairs_than_there_are_costs_nothing() -> None:
    few, many = record(40), record(400)
    assert few.evaluations == many.evaluations < 40
    assert few.own_flops == many.own_flops
    assert few.own_flops is not None
    most = sum(iteration_work(2410, k) for k in range(few.evaluations)) + 4 * 2410 * few.evaluations
    assert 0.5 * most < few.own_flops < 1.05 * most  # a line search that tries twice makes fewer pairs
