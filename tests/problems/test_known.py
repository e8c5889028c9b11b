"""The optima that problems state, checked against closed forms, linear programs and second-order solves."""

from __future__ import annotations

import importlib
import math

import measure_best_known
import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from optbench.core.problem import Best, fresh
from optbench.problems import PROBLEMS
from optbench.problems.cartpole import CartPole
from optbench.problems.functions import Function, Rosenbrock
from optbench.problems.line import Line, LineL1
from optbench.problems.logistic_cancer import PENALTY, LogisticCancer
from optbench.problems.mlp_binary import auc
from optbench.problems.noisy_quadratic import NoisyQuadratic, root
from optbench.problems.transformer_shakespeare import TransformerShakespeare
from optbench.problems.universal import f
from optbench.problems.vae_fashion import VaeFashion

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
    "ackley": ((1.0, 1.0), 20 + math.e - 20 * np.exp(-0.2) - math.e),
    "griewank": ((np.pi, 0.0), 1 + np.pi**2 / 4000 + 1),
}


@pytest.mark.parametrize("name", AT)
def test_function_value_by_hand(name: str) -> None:
    point, value = AT[name]
    assert function(f"{name}_2d").formula(torch.tensor(point, dtype=torch.float64)).item() == pytest.approx(value)


def test_rosenbrock_refuses_one_dimension() -> None:
    with pytest.raises(ValueError, match="rosenbrock: dim 1, at least 2"):
        Rosenbrock(dim=1)


def test_starts_in_float64_find_a_known_optimum_and_say_when_one_is_beaten(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_best_known.descend(Line(), 0, 100)
    assert found.loss == pytest.approx(Line().best.value, rel=1e-10)
    assert measure_best_known.measure("line_mse", Line(), 2, 100).endswith("(optimum), which stands.")
    monkeypatch.setattr(Line, "best", Best(0.641, "best known"))
    assert measure_best_known.measure("line_mse", Line(), 2, 100).endswith("(best known), which is beaten.")


def test_starts_refuse_a_loss_that_draws() -> None:
    with pytest.raises(ValueError, match=r"cartpole: .* leave --starts out"):
        measure_best_known.measure("cartpole", CartPole(), 1, 10)


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


def test_noisy_quadratic_is_minimised_by_the_mean_with_deepobs_spectrum() -> None:
    """L(mean) = tr(Q Cov) / 2; the eigenvalues are those that DeepOBS draws one set after the other from seed 42."""
    (x,) = NoisyQuadratic().data().train
    q = root().double() @ root().double().T
    covariance = torch.cov(x.double().T, correction=0)
    assert NoisyQuadratic().best.value == pytest.approx((q * covariance).sum().item() / 2, rel=1e-6)
    stream = np.random.RandomState(42)
    drawn = np.concatenate([stream.uniform(0, 1, 90), stream.uniform(30, 60, 10)])
    assert np.allclose(torch.linalg.eigvalsh(q).numpy(), np.sort(drawn), atol=1e-3)

    net = NoisyQuadratic().network()
    with torch.no_grad():
        assert (net.theta == 1).all()
        net.theta.copy_(x.mean(0))
        assert NoisyQuadratic().loss(net, (x,)).item() == pytest.approx(NoisyQuadratic().best.value, rel=1e-6)


def test_area_under_the_curve_equals_scikit_learns_with_ties() -> None:
    stream = torch.Generator().manual_seed(0)
    score, y = torch.randint(0, 6, (60,), generator=stream).float(), torch.randint(0, 2, (60,), generator=stream)
    assert auc(score, y).item() == pytest.approx(roc_auc_score(y, score))


def test_universal_function_by_hand() -> None:
    """f(1/4) = sin(pi/2) + sin(3 pi / 2) / 2 = 1/2; f(1/12) = 1/2 + 1/2."""
    assert f(torch.tensor([0.25, 1 / 12], dtype=torch.float64)).tolist() == pytest.approx([0.5, 1.0])


def test_vae_loss_by_hand() -> None:
    """A network of zeros: 196 ln 2 nats of pixels, no divergence; mean 1 and log variance 0 add 1/2 each."""
    problem = VaeFashion(code=3)
    batch = (torch.rand(4, 196, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 3))
    assert problem.loss(lambda x, noise: torch.zeros(4, 202), batch).item() == pytest.approx(196 * np.log(2), rel=1e-6)
    means = torch.cat([torch.zeros(4, 196), torch.ones(4, 3), torch.zeros(4, 3)], 1)
    assert problem.metrics(lambda x, noise: means, batch)["divergence"].item() == pytest.approx(1.5)


def test_transformer_does_not_see_the_future() -> None:
    """Changing a character changes no prediction before it, and the ones from it on."""
    problem = TransformerShakespeare()
    net = fresh(problem, 0)[0].eval()
    x = problem.data().train[0][:3].clone()
    before = net(x)
    x[:, 20] = (x[:, 20] + 1) % 68
    after = net(x)
    assert torch.equal(before[:, :20], after[:, :20])
    assert ((before[:, 20:] - after[:, 20:]).abs().amax((0, 2)) > 0).all()
