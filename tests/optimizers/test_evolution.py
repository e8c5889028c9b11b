"""Evolution, ant systems on grids and direct search against their papers' distributions and their own libraries."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.recording import Formula, Recording, rastrigin, run, sphere
from scipy.optimize import dual_annealing
from torch import Tensor

from optbench.core.objective import Inapplicable
from optbench.engine.metered import metered_as
from optbench.optimizers import arrays, checks
from optbench.optimizers.colony.mmas import MMAS, convergence
from optbench.optimizers.direct.dual_annealing import DualAnnealing
from optbench.optimizers.direct.powell import Powell
from optbench.optimizers.evolution.cma_es import CMAES
from optbench.optimizers.evolution.differential_evolution import DifferentialEvolution
from optbench.optimizers.evolution.evotorch_search import CEM, PGPE, SNES, XNES
from optbench.optimizers.evolution.openai_es import OpenAIES, centred_ranks
from optbench.optimizers.evolution.spsa import SPSA
from optbench.optimizers.scipy_options import box
from optbench.optimizers.swarm.spso2011 import SPSO2011, in_ball
from optbench.problems.sine_grid import SineGrid
from optbench.problems.xor_sign import XorSign

SEEDS = (0, 1, 2)


def made(kind: type, **settings: Any) -> Any:
    """The optimizer; the test is skipped where the package that it wraps is not installed."""
    wraps = "cma" if kind is CMAES else "evotorch" if kind.__module__.endswith("evotorch_search") else None
    if wraps:
        pytest.importorskip(wraps)
    return kind(**settings)


def test_points_in_the_ball_have_any_radius_and_any_direction_alike() -> None:
    stream = torch.Generator().manual_seed(0)
    for dim in (1, 2, 5):
        x = in_ball(torch.randn(40_000, dim, generator=stream), torch.rand(40_000, generator=stream))
        radius = x.norm(dim=1)
        inside = [float((radius < r).float().mean()) for r in (0.3, 0.6, 0.9)]
        assert inside == pytest.approx([0.3, 0.6, 0.9], abs=0.01)
        assert x.mean(0).abs().max() < 0.02
        direction = x / radius[:, None]
        assert torch.allclose(direction.mT @ direction / len(x), torch.eye(dim) / dim, atol=0.01)  # no axis is special
        assert abs(float(torch.corrcoef(torch.stack([radius, x[:, 0].sign()]))[0, 1])) < 0.02


def test_spso_moves_into_the_ball_around_its_centre() -> None:
    swarm = SPSO2011(swarm=12)
    f = run(swarm, Formula(sphere, dim=3), 24)
    x, other = f.start(24)[0].chunk(2)
    step = f.points[1][0] - x - swarm.w * (other - x)  # x' - x of every particle
    best = f.losses[0][0]
    # At first p = x. Who leads is random, but its gap is known: the ball's centre and radius are gap = c (l - x) / 3.
    gaps = swarm.c * (x[None] - x[:, None]) / 3  # [i, j]: j leads i
    within = (step[:, None] - gaps).norm(dim=2) <= gaps.norm(dim=2) + 1e-9
    led = within & (best[None] <= best[:, None])
    alone = step.norm(dim=1) < 1e-9  # leads itself and stands on its best: the ball has no radius
    assert (led.any(1) | alone).all() and not alone.all()


def test_spso_is_invariant_under_rotation() -> None:
    turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    weights = torch.logspace(0, 3, 8, dtype=torch.float64)

    def median(formula: Any) -> float:
        f = run(SPSO2011(), Formula(formula, dim=8, low=-5, high=5), 8000, tuple(range(9)))
        return float(f.history.amin(1).median())

    straight = median(lambda x: (weights * x.square()).sum())
    turned = median(lambda x: (weights * (turn @ x).square()).sum())
    assert straight < 1 and 1e-2 < turned / straight < 1e2


@pytest.mark.parametrize(
    "optimizer", [SPSO2011(swarm=7), MMAS(ants=5, grid=(-1, 0, 2)), OpenAIES(pairs=4), SPSA()], ids=str
)
def test_lanes_equal_serial(optimizer: Any) -> None:
    problem = Formula(rastrigin, dim=5)
    together = run(optimizer, problem, 200, SEEDS).history
    for lane in SEEDS:
        assert torch.allclose(together[lane], run(optimizer, problem, 200, (lane,)).history[0], rtol=1e-9)


def test_mmas_finds_the_certified_optimum_of_xor() -> None:
    problem = XorSign()
    f = run(MMAS(grid=problem.grid), problem, 2000, tuple(range(5)))
    assert problem.grid_best is not None
    assert all(curve[-1]["loss"] == pytest.approx(problem.grid_best, abs=1e-12) for curve in f.finish().curves)


def test_mmas_stays_on_the_grid_and_never_beats_its_certified_optimum() -> None:
    problem = SineGrid()
    f = run(MMAS(grid=problem.grid), problem, 2000, SEEDS)
    asked = torch.cat(f.points, 1)
    assert torch.isin(asked, torch.tensor(problem.grid, dtype=torch.float64)).all()
    regret = f.history.amin(1) - problem.grid_best
    assert (regret > -1e-12).all() and (regret < 0.2).all()


def test_mmas_draws_levels_in_proportion_to_their_pheromone_and_learns_them() -> None:
    f = run(MMAS(ants=300, grid=(-1.0, 0.0, 1.0), rho=0.5), Formula(lambda x: (x - 1).square().sum(), dim=4), 1200)
    first, last = f.points[0][0], f.points[3][0]
    for value in (-1, 0, 1):
        assert float((first == value).double().mean()) == pytest.approx(1 / 3, abs=0.04)
    # Two updates by 1/2 towards all ones from 1/2 leave 0.875 against 0.125 for each of the two others.
    assert float((f.points[2][0] == 1).double().mean()) == pytest.approx(0.875 / 1.125, abs=0.04)
    assert float((last == 1).double().mean()) > float((first == 1).double().mean())


def test_convergence_is_zero_for_level_pheromone_and_one_at_the_bounds() -> None:
    level = torch.full((1, 3, 2), 0.5)
    assert float(convergence(level)) == pytest.approx(0, abs=1e-6)
    assert float(convergence(torch.tensor([[[0.999, 0.001]] * 3]))) == pytest.approx(1, abs=1e-6)


def test_centred_ranks_share_ties_and_put_infinite_losses_last() -> None:
    loss = torch.tensor([[3.0, 1.0, math.inf, 1.0, math.inf]])
    assert centred_ranks(loss).tolist() == [[0.0, -0.375, 0.375, -0.375, 0.375]]


def test_openai_es_and_spsa_estimate_the_gradient() -> None:
    slope = torch.arange(1, 7, dtype=torch.float64)
    problem = Formula(lambda x: (slope * x).sum(), dim=6)
    f = metered_as(Recording, problem, [0], 10**6)
    x = f.start()
    parts = [SPSA()._slope(f, x, 0.01) for _ in range(4000)]
    mean = torch.stack([s[:, None] * signs for s, signs in parts]).mean(0)[0]
    assert torch.allclose(mean, slope, atol=0.6)
    es = run(OpenAIES(pairs=2000), problem, 4000)
    noise, loss = (es.points[0][0] - x[0]).chunk(2)[0], es.losses[0]
    plus, minus = centred_ranks(loss).chunk(2, 1)
    estimate = ((plus - minus)[0, :, None] * noise).sum(0)
    assert float(torch.cosine_similarity(estimate, slope, dim=0)) > 0.98


def test_spsa_first_steps_have_the_size_asked_for() -> None:
    f = run(SPSA(step=0.02, trials=50), Formula(lambda x: 7 * x.sum(), dim=1), 104)
    centres = torch.stack([p[0].mean(0) for p in f.points])
    assert float((centres[51] - centres[50]).abs()) == pytest.approx(0.02, rel=1e-6)


@pytest.mark.parametrize("optimizer", [OpenAIES(), SPSA(step=0.05)], ids=["openai_es", "spsa"])
def test_a_loss_that_is_not_finite_does_not_lose_the_point(optimizer: Any) -> None:
    f = run(
        optimizer, Formula(lambda x: torch.where(x[0] > 3, x.square().sum(), torch.nan), dim=3, low=3, high=3.1), 600
    )
    assert f.finish().nonfinite[0] > 0
    assert f.finish().points.isfinite().all()


@pytest.mark.parametrize("diagonal", [False, True])
def test_cma_wrapped_is_cma(diagonal: bool) -> None:
    cma = pytest.importorskip("cma")
    problem = Formula(rastrigin, dim=5)
    state = np.random.get_state()[1]
    f = run(CMAES(diagonal=diagonal), problem, 80)
    assert np.array_equal(np.random.get_state()[1], state)
    fresh, asked = metered_as(Recording, problem, [0], 80), []
    with arrays.global_state(arrays.seed(fresh)):
        options = {"seed": math.nan, "verbose": -9, "CMA_diagonal": diagonal}
        search = cma.CMAEvolutionStrategy(arrays.start(fresh), 0.5 * arrays.spread(fresh), options)
        for _ in range(10):
            x = search.ask()
            asked.append(np.stack(x))
            search.tell(x, [float(rastrigin(torch.tensor(row))) for row in x])
    assert np.allclose(torch.stack([p[0] for p in f.points[:10]]).numpy(), asked, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("kind", [SNES, XNES, PGPE, CEM])
def test_evotorch_wrapped_is_evotorch_and_silent(kind: type, capfd: pytest.CaptureFixture[str]) -> None:
    optimizer = made(kind)
    evotorch = pytest.importorskip("evotorch")
    algorithms = pytest.importorskip("evotorch.algorithms")
    problem = Formula(sphere, dim=4)
    f = run(optimizer, problem, 200)
    assert "evotorch" not in capfd.readouterr().err
    again = metered_as(Recording, problem, [0], 200)
    asked: list[Tensor] = []

    def losses(x: Tensor) -> Tensor:
        asked.append(x.clone())
        return torch.vmap(sphere)(x)

    logging.getLogger("evotorch").setLevel(logging.ERROR)
    theirs = evotorch.Problem(
        "min", losses, vectorized=True, solution_length=4, initial_bounds=(-1, 1), dtype=torch.float64,
        seed=arrays.seed(again),
    )  # fmt: skip
    settings = optimizer._settings(0.5 * arrays.spread(again))
    search = getattr(algorithms, optimizer.name)(theirs, popsize=40, center_init=again.start()[0], **settings)
    for _ in range(5):
        search.step()
    assert torch.allclose(torch.stack([p[0] for p in f.points[:5]]), torch.stack(asked), rtol=1e-9)


def test_dual_annealing_asks_what_scipy_asks() -> None:
    problem = Formula(rastrigin, dim=3)
    f = run(DualAnnealing(), problem, 120)
    fresh, asked = metered_as(Recording, problem, [0], 1), []
    bounds = box(fresh, 5.0)

    def value(x: np.ndarray) -> float:
        asked.append(x.copy())
        return float(rastrigin(torch.tensor(x)))

    rng = np.random.default_rng(arrays.seed(fresh))
    start = np.clip(arrays.start(fresh), *bounds)
    dual_annealing(value, list(zip(*bounds, strict=True)), x0=start, maxfun=200, rng=rng)
    assert np.allclose(torch.cat([p[0] for p in f.points[:120]]).numpy(), asked[:120], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("kind", [Powell, DifferentialEvolution, CMAES, SNES])
def test_they_end_near_the_optimum_of_the_sphere(kind: type) -> None:
    f = run(made(kind), Formula(sphere, dim=5), 4000)
    assert f.spent.refused == 0 and f.finish().curves[0][-1]["loss"] < 1e-2


@pytest.mark.parametrize("kind, dim", [(CMAES, 7000), (XNES, 1001)])
def test_a_covariance_that_would_not_fit_is_refused(kind: type, dim: int) -> None:
    with pytest.raises(Inapplicable, match=f"{dim}.*use"):
        run(made(kind), Formula(sphere, dim=dim), 10)


def test_a_package_that_is_absent_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install cma"):
        CMAES()
    with pytest.raises(ModuleNotFoundError, match=r"snes needs .* pip install evotorch"):
        SNES()


@pytest.mark.parametrize(
    "make, settings",
    [
        (SPSO2011, {"swarm": 1}),
        (SPSO2011, {"w": 1.0}),
        (MMAS, {"rho": 0}),
        (MMAS, {"grid": (1, 1)}),
        (OpenAIES, {"sigma": -1.0}),
        (SPSA, {"trials": 0}),
        (CMAES, {"population": 1}),
        (PGPE, {"population": 7}),
        (CEM, {"elite": 0.0}),
        (DifferentialEvolution, {"population": 4}),
        (DualAnnealing, {"reach": math.inf}),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        made(make, **settings)


def test_mmas_without_a_grid_is_inapplicable() -> None:
    with pytest.raises(Inapplicable, match="states no weight grid"):
        run(MMAS(), Formula(sphere, dim=2), 10)
