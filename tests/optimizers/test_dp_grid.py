"""dp_grid against trying every network on the grid, and each of its mechanisms against being broken."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from helpers.dp_cases import MODULES, Small, Solved, every_network, solved
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.core.objective import CertificateError
from optbench.engine.metered import metered
from optbench.optimizers.exact import dp_grid, dp_layers, dp_merge, dp_weights
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.problems.parity3 import Parity3
from optbench.problems.sine_grid import ON_GRID as SINES
from optbench.problems.sine_grid import SineGrid
from optbench.problems.xor_sign import ON_GRID as SIGNS
from optbench.problems.xor_sign import XorSign

GRIDS = [(-1.0, 0.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (-2.0, -0.5, 0.0, 1.0), (-2.0, -1.0, 0.0, 1.0, 2.0)]
MAX_TRIED = 30_000  # networks that one instance tries
FLAT = [(1, 2, 1), (2, 2, 1), (1, 3, 1), (1, 2, 2), (1, 1, 1), (2, 1, 2)]
DEEP = [(1, 2, 2, 1), (1, 1, 2, 1), (2, 1, 1, 1), (1, 1, 1, 1, 1), (1, 2, 1, 2)]
thorough = settings(max_examples=130, deadline=None, derandomize=True, database=None)


@st.composite
def instances(draw: st.DrawFn, shapes: list[tuple[int, ...]]) -> tuple[Small, tuple[float, ...]]:
    """A small network, few samples (with ties), and a grid small enough to try all of it."""
    widths = draw(st.sampled_from(shapes))
    loss = draw(st.sampled_from(["mse", "bce"]))
    samples = draw(st.integers(1, 5))
    x = draw(st.lists(st.integers(-4, 4), min_size=samples * widths[0], max_size=samples * widths[0]))
    target = st.integers(0, 1) if loss == "bce" else st.integers(-40, 40)
    y = draw(st.lists(target, min_size=samples * widths[-1], max_size=samples * widths[-1]))
    problem = Small(
        torch.tensor(x, dtype=torch.float64).reshape(samples, widths[0]) / 4,
        torch.tensor(y, dtype=torch.float64).reshape(samples, widths[-1]) / (1 if loss == "bce" else 10),
        widths,
        draw(st.sampled_from(sorted(MODULES))),
        loss,
        tuple(draw(st.lists(st.sampled_from([True, True, False]), min_size=4, max_size=4))),
    )
    size = sum(p.numel() for p in problem.network().parameters())
    return problem, draw(st.sampled_from([grid for grid in GRIDS if len(grid) ** size <= MAX_TRIED] or [(-1.0, 1.0)]))


def penalties(points: np.ndarray, penalty: float, power: float) -> np.ndarray:
    return penalty * np.where(points == 0, 0.0, np.abs(points) ** power).sum(-1)


def brute(problem: Small, grid: tuple[float, ...], penalty: float = 0.0, power: float = 2.0) -> float:
    """The least loss plus penalty of all networks on the grid."""
    points, losses = every_network(problem, grid)
    return float((losses + penalties(points, penalty, power)).min())


def total(found: Solved, penalty: float = 0.0, power: float = 2.0) -> float:
    return found.upper + float(penalties(found.point.numpy(), penalty, power))


@thorough
@given(instances(FLAT), st.booleans())
def test_one_hidden_layer_equals_brute_force(case: tuple[Small, tuple[float, ...]], middle: bool) -> None:
    problem, grid = case
    found = solved(problem, DPGrid(grid=grid, middle=middle))
    least = brute(problem, grid)
    assert found.lower == found.upper == pytest.approx(least, rel=1e-12, abs=1e-12)
    assert found.exact and found.loss == pytest.approx(found.upper, rel=1e-12, abs=1e-12)
    assert set(found.point.tolist()) <= set(grid)


@thorough
@given(instances(DEEP))
def test_deep_networks_equal_brute_force(case: tuple[Small, tuple[float, ...]]) -> None:
    problem, grid = case
    found = solved(problem, DPGrid(grid=grid))
    assert found.upper == pytest.approx(brute(problem, grid), rel=1e-12, abs=1e-12)
    assert found.exact and set(found.point.tolist()) <= set(grid)


@thorough
@given(instances(FLAT + DEEP), st.sampled_from([0.003, 0.03, 0.3]), st.sampled_from([0.0, 1.0, 2.0]), st.booleans())
def test_penalised_networks_equal_brute_force(
    case: tuple[Small, tuple[float, ...]], penalty: float, power: float, middle: bool
) -> None:
    problem, grid = case
    found = solved(problem, DPGrid(grid=grid, penalty=penalty, power=power, middle=middle))
    assert total(found, penalty, power) == pytest.approx(brute(problem, grid, penalty, power), rel=1e-12, abs=1e-12)
    # what the certificate says: no network with at most this penalty has a smaller loss
    points, losses = every_network(problem, grid)
    allowed = penalties(points, penalty, power) <= penalties(found.point.numpy(), penalty, power) * (1 + 1e-12)
    assert losses[allowed].min() >= found.lower - 1e-12 * max(1, found.lower)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(instances(FLAT + DEEP), st.integers(1, 6))
def test_a_beam_gives_an_interval_that_holds_the_optimum(case: tuple[Small, tuple[float, ...]], width: int) -> None:
    problem, grid = case
    found = solved(problem, DPGrid(grid=grid, beam=width))
    assert found.lower <= brute(problem, grid) + 1e-12 and brute(problem, grid) <= found.upper + 1e-12


def test_a_wide_beam_is_exact_and_a_narrow_one_says_it_is_not() -> None:
    narrow, wide = (solved(SineGrid(4, 2), DPGrid(beam=width)) for width in (64, 100_000))
    assert wide.exact and wide.upper == pytest.approx(SINES[4, 2], abs=1e-14)
    assert not narrow.exact and narrow.lower < SINES[4, 2] < narrow.upper


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_beam_over_layers_says_it_is_not_exact(seed: int) -> None:
    """One last unit gives up no sums; what was given up is a layer before, and the optimum with it."""
    case = random_case(seed, (1, 2, 1, 1), "tanh")
    found = solved(case, DPGrid(grid=GRIDS[0], beam=1))
    assert found.lower <= brute(case, GRIDS[0]) < found.upper - 1e-3 and not found.exact


@pytest.mark.parametrize(("K", "L"), SINES)
def test_sine_optima_are_as_stated(K: int, L: int) -> None:
    found = solved(SineGrid(K, L), DPGrid())
    assert found.exact and found.scope == f"grid {{-{L}..{L}}}"
    assert found.upper == pytest.approx(SINES[K, L], rel=1e-12) and SineGrid(K, L).grid_best == SINES[K, L]


@pytest.mark.parametrize(("inputs", "layers", "L"), SIGNS)
def test_sign_optima_are_as_stated(inputs: int, layers: int, L: int) -> None:
    problem = (XorSign if inputs == 2 else Parity3)(L, layers)
    found = solved(problem, DPGrid())
    assert found.exact and found.upper == pytest.approx(SIGNS[inputs, layers, L], rel=1e-12)
    assert problem.grid_best == SIGNS[inputs, layers, L]


@pytest.mark.parametrize("L", [1, 2, 3])
def test_xor_optimum_by_hand(L: int) -> None:
    """Both sign units agree on the one class and disagree on the other, so the logits are L and -L at best."""
    assert XorSign(L).grid_best == pytest.approx(np.log1p(np.exp(-L)), rel=1e-12)


# The mechanisms that tests/test_dp_units.py does not reach, on networks that they decide


def random_case(seed: int, widths: tuple[int, ...], activation: str, samples: int = 4) -> Small:
    stream = np.random.default_rng(seed)
    x = torch.tensor(stream.integers(-4, 5, (samples, widths[0])) / 4.0)
    return Small(x, torch.tensor(stream.normal(size=(samples, widths[-1])) * 2), widths, activation)


def dearest(keyed: np.ndarray, cost: np.ndarray) -> np.ndarray:
    return dp_merge.merge(keyed, -cost)


BREAKS: dict[str, tuple[Any, str, Any, tuple[int, ...], float]] = {
    "weights: the dearest of equal responses": (dp_weights, "merge", dearest, (1, 2, 1), 0.1),
    "layers: the dearest of equal activations": (dp_layers, "merge", dearest, (1, 1, 1, 1, 1), 0.1),
    "layers: repeated columns dropped": (dp_layers, "combinations_with_replacement", combinations, (1, 2, 1, 1), 0.0),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_mechanism_is_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, replacement, widths, penalty = BREAKS[broken]
    grid = GRIDS[0] if len(widths) == 3 else (0.0, 1.0)
    cases = [random_case(seed, widths, activation) for seed in range(6) for activation in ("relu", "identity")]
    least = [brute(case, grid, penalty) for case in cases]

    def values() -> list[float]:
        return [total(solved(case, DPGrid(grid=grid, penalty=penalty)), penalty) for case in cases]

    assert values() == pytest.approx(least, rel=1e-12, abs=1e-12)
    monkeypatch.setattr(owner, attribute, replacement)
    assert values() != pytest.approx(least, rel=1e-12, abs=1e-12)


def test_weight_and_layer_merging_save_states() -> None:
    """A sign unit has 14 answers on the corners of a square, whatever the grid; two of them make 105 layers."""
    x, y = (tensor.numpy() for tensor in XorSign().data().train)
    grid = dp_weights.Grid(np.arange(-3.0, 4.0), np.zeros(7), 1.0, 2.0**-52)
    assert len(dp_weights.responses(x, grid, True, "sign").rows) == 14
    net = dp_layers.Net((2, 2), (True, True, True), ("sign", "sign"), 1, "bce")
    assert dp_layers.train(x, y, net, grid).states[0] == 14 * 15 // 2


# What the framework and the arithmetic ask of a certificate


def test_float32_networks_certify_too() -> None:
    x, y = SineGrid().data().train
    problem = Small(x.float(), y.float(), (1, 3, 1), grid=SineGrid().grid, dtype=torch.float32)
    found = solved(problem, DPGrid())
    assert found.exact and found.upper == pytest.approx(SINES[3, 3], rel=1e-6)


def test_a_wrong_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = dp_grid.train

    def optimist(*args: Any) -> dp_layers.Solution:
        found = honest(*args)
        found.value -= 1e-9
        return found

    monkeypatch.setattr(dp_grid, "train", optimist)
    with pytest.raises(CertificateError, match=r"certified .* but the network's forward pass gives"):
        solved(SineGrid(), DPGrid())


def test_a_continuous_network_may_go_below_the_grid() -> None:
    """No contradiction, the certificate is about the grid: plain gradient descent from its optimum ends below it."""
    problem = SineGrid(3, 2)
    found = solved(problem, DPGrid())
    f = metered(problem, [0], 1000.0)
    x = found.point[None]
    for _ in range(100):
        loss, gradient = f.value_and_grad(x)
        x = x - 0.01 * gradient
    assert float(loss) < found.lower - 1e-3
