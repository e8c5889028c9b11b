"""dp_step against trying every segmentation, against a segmentation library, and against every other way to train."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
import ruptures
import torch
from helpers.dp_cases import Small, solved
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from optbench.core.problem import Problem, fresh
from optbench.engine.metered import metered
from optbench.optimizers.exact import dp_step
from optbench.optimizers.exact.dp_segments import Absolute, Labels, Squared
from optbench.optimizers.exact.dp_step import DPStep, segment
from optbench.problems.step_1d import BESTS, Step1d
from optbench.problems.step_bmi import KS, StepBmi, StepBmiClasses

Array = np.ndarray
thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@st.composite
def instances(draw: st.DrawFn, activations: list[str], dtype: torch.dtype = torch.float64) -> Small:
    """Up to 8 samples with ties in the input, up to 3 units and 3 outputs, any of the four losses."""
    loss = draw(st.sampled_from(["mse", "l1", "bce", "cross-entropy"]))
    samples, units = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    outputs = draw(st.integers(2, 3)) if loss == "cross-entropy" else draw(st.integers(1, 2))
    x = draw(st.lists(st.integers(-4, 4), min_size=samples, max_size=samples))
    size = samples if loss == "cross-entropy" else samples * outputs
    targets = {"cross-entropy": st.integers(0, outputs - 1), "bce": st.integers(0, 1)}.get(loss, st.integers(-50, 50))
    y = torch.tensor(draw(st.lists(targets, min_size=size, max_size=size)))
    if loss != "cross-entropy":
        y = y.to(dtype).reshape(samples, outputs) / (1 if loss == "bce" else 10)
    inputs = torch.tensor(x, dtype=dtype)[:, None] / 3
    return Small(inputs, y, (1, units, outputs), draw(st.sampled_from(activations)), loss, dtype=dtype)


def constant(y: Array, loss: str, outputs: int) -> float:
    """The least total loss of one constant on the targets y, written down independently of `dp_segments`."""
    if loss == "mse":
        return float(((y - y.mean(0)) ** 2).sum())
    if loss == "l1":
        return float(sum(min(np.abs(column - c).sum() for c in column) for column in y.T))
    shares = [np.mean(y == c) for c in range(outputs)] if loss == "cross-entropy" else [*y.mean(0), *(1 - y.mean(0))]
    return -len(y) * sum(p * math.log(p) for p in shares if p > 0)


def brute(problem: Small) -> float:
    """The least mean loss over all ways to put at most K breaks between distinct inputs."""
    outputs, loss = problem.widths[-1], problem.loss_name
    x, y = problem.x[:, 0].double().numpy(), problem.y.numpy().astype(int if loss == "cross-entropy" else float)
    values = np.unique(x)
    least = np.inf
    for k in range(min(problem.widths[1], len(values) - 1) + 1):
        for breaks in combinations(values[1:], k):
            part = np.searchsorted(breaks, x, side="right")
            least = min(least, sum(constant(y[part == i], loss, outputs) for i in range(k + 1)))
    return float(least) / (len(x) * (1 if loss == "cross-entropy" else outputs))


@thorough
@given(instances(["step", "sign"]))
def test_equals_brute_force(problem: Small) -> None:
    found = solved(problem, DPStep())
    assert found.lower == pytest.approx(brute(problem), rel=1e-12, abs=1e-12)
    assert found.exact and found.scope == "continuous weights"
    assert found.loss == pytest.approx(found.upper, rel=1e-12, abs=1e-12)


@thorough
@given(instances(["step", "sign"], torch.float32))
def test_float32_networks_reproduce_the_loss(problem: Small) -> None:
    """Thresholds, rises and logits are rounded to float32 when they become weights."""
    found = solved(problem, DPStep())
    assert found.lower == pytest.approx(brute(problem), rel=1e-6, abs=1e-6)
    assert found.loss == pytest.approx(found.lower, rel=1e-6, abs=1e-6)


@thorough
@given(instances(["sigmoid", "tanh"]))
def test_smooth_networks_get_the_same_loss_as_an_upper_bound(problem: Small) -> None:
    """Never exact unless nothing could be better: the lower bound is the spread at equal inputs."""
    found = solved(problem, DPStep())
    everything = Small(problem.x, problem.y, (1, 99, problem.widths[-1]), "step", problem.loss_name)
    assert found.upper == pytest.approx(brute(problem), rel=1e-12, abs=2e-12)
    assert found.lower == pytest.approx(min(solved(everything, DPStep()).lower, found.upper), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_smooth_float32(activation: str) -> None:
    x, y = Step1d().data().train
    found = solved(Small(x.float(), y.float(), (1, 6, 1), activation, dtype=torch.float32), DPStep())
    assert found.upper == pytest.approx(BESTS[5], rel=1e-6) and not found.exact and found.lower == 0


@pytest.mark.parametrize("breaks", [1, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_ruptures(seed: int, breaks: int) -> None:
    """Dynp of ruptures solves the same segmentation: squared error on random signals of one to three outputs."""
    stream = np.random.default_rng(seed)
    signal = stream.normal(size=(40, 1 + seed % 3)) + stream.normal(size=(4, 1 + seed % 3)).repeat(10, 0)
    theirs = ruptures.Dynp(model="l2", min_size=1, jump=1).fit(signal)
    mine = segment(Squared(signal, np.arange(41)), 40, breaks)
    assert [*mine, 40] == theirs.predict(n_bkps=breaks)


@pytest.mark.parametrize("breaks", [1, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_ruptures_in_absolute_error(seed: int, breaks: int) -> None:
    """Its L1 segments hold at least two samples, so every value comes twice; the medians tie, so costs are compared."""
    stream = np.random.default_rng(seed)
    signal = stream.normal(size=(24, 1 + seed % 3)).repeat(2, 0)
    theirs = ruptures.Dynp(model="l1", min_size=2, jump=1).fit(signal)
    segments = Absolute(signal, np.arange(0, 49, 2))
    bounds = [0, *segment(segments, 24, breaks), 24]
    total = sum(segments.cost(i, j) for i, j in pairwise(bounds))
    assert total == pytest.approx(theirs.cost.sum_of_costs(theirs.predict(n_bkps=breaks)), rel=1e-12)


def test_columns_are_the_costs_of_segments() -> None:
    """The vectorised costs against sums over the samples, at the far end of a signal with a large offset."""
    stream = np.random.default_rng(0)
    y, ends = 1e3 + stream.normal(size=(60, 2)), np.sort(stream.choice(np.arange(1, 60), 39, replace=False))
    ends = np.concatenate([[0], ends, [60]])
    for segments in (Squared(y, ends), Absolute(y, ends), Labels(stream.integers(0, 3, 60), ends, 3)):
        for j in (1, 17, 40):
            expected = [segments.cost(i, j) for i in range(j)]
            assert segments.column(j) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_cross_entropy_is_an_infimum_that_the_network_approaches() -> None:
    """Two pure segments: the infimum is 0, and capped logits come within exp(-30) of it."""
    x, y = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64), torch.tensor([1, 0, 0])
    found = solved(Small(x, y, (1, 1, 2), "step", "cross-entropy"), DPStep())
    assert found.lower == 0.0 and 0 < found.upper < 2 * math.exp(-30) and found.exact


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_threshold_between_neighbouring_numbers(dtype: torch.dtype) -> None:
    """The midpoint of two neighbours rounds to one of them; the break must be between them all the same."""
    left = torch.tensor([1.0, -3.0, 1e-30, 7.3], dtype=dtype)
    for low, high in zip(left, torch.nextafter(left, left.new_tensor(math.inf)), strict=True):
        x, y = torch.stack([low, high])[:, None], torch.tensor([[0.0], [1.0]], dtype=dtype)
        assert solved(Small(x, y, (1, 1, 1), "step", dtype=dtype), DPStep()).upper == 0


def test_several_outputs_share_their_breaks() -> None:
    """Two outputs that break at different places: one shared break cannot fit both, two can."""
    x = torch.arange(4.0, dtype=torch.float64)[:, None]
    y = torch.tensor([[0, 0], [1, 0], [1, 1], [1, 1]], dtype=torch.float64)
    assert solved(Small(x, y, (1, 2, 2), "step"), DPStep()).upper == 0
    assert solved(Small(x, y, (1, 1, 2), "step"), DPStep()).upper == pytest.approx(0.5 / 8)


def test_of_equally_good_staircases_the_one_with_the_fewest_breaks() -> None:
    y = np.repeat([[0.0], [1.0], [-1.0]], 4, 0)
    assert segment(Squared(y, np.arange(13)), 12, 8) == [4, 8]
    assert segment(Squared(0 * y, np.arange(13)), 12, 3) == []


# The problems that state these optima, and that nothing goes below them

STATED: list[Problem] = [Step1d(K) for K in range(1, 17)] + [cls(K) for cls in (StepBmi, StepBmiClasses) for K in KS]


@pytest.mark.parametrize("problem", STATED, ids=repr)
def test_stated_optima(problem: Problem) -> None:
    found = solved(problem, DPStep())
    assert found.exact and found.lower == pytest.approx(problem.best.value, rel=1e-12)


@pytest.mark.parametrize("problem", [Step1d(2), Step1d(8), StepBmi(4), StepBmiClasses(4)], ids=repr)
@pytest.mark.parametrize("method", ["Adam", "SGD", "Rprop"])
def test_nothing_goes_below_a_continuous_certificate(problem: Problem, method: str) -> None:
    """Straight-through training and random moves, also from the certified network itself, stay above it."""
    certified = solved(problem, DPStep())
    floor = certified.lower - 1e-12
    f = metered(problem, [0], 1e5)
    draws = certified.point + 0.03 * f.randn(200, f.dim)
    assert float(f.value(draws).min()) >= floor and float(f.value(f.start(200)).min()) >= floor
    for start in (torch.cat([p.reshape(-1) for p in fresh(problem, 1)[0].parameters()]), certified.point):
        x = start.detach().clone().requires_grad_()
        optimizer = getattr(torch.optim, method)([x], lr=0.02)
        for _ in range(60):
            loss, gradient = f.value_and_grad(x[None])
            assert float(loss) >= floor
            x.grad = gradient[0]
            optimizer.step()


def test_levels_beat_any_other_constant() -> None:
    """The logits of a mixed segment, against a direct minimisation of its cross-entropy."""
    y = np.array([0, 0, 0, 1])
    segments = Labels(y, np.arange(5), 2)
    found = minimize_scalar(lambda z: 4 * logsumexp([0.0, z]) - z, bounds=(-5, 5), options={"xatol": 1e-10})
    assert segments.cost(0, 4) == pytest.approx(found.fun, rel=1e-12)
    assert np.diff(segments.level(0, 4))[0] == pytest.approx(found.x, abs=1e-6)


# Broken on purpose


def test_a_break_inside_a_tie_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that ignore ties segment what no network can: the framework refuses the certificate."""
    x, y = torch.tensor([[0.0], [0.0], [1.0]]).double(), torch.tensor([[0.0], [1.0], [1.0]]).double()
    problem = Small(x, y, (1, 1, 1), "step")
    assert solved(problem, DPStep()).upper == pytest.approx(1 / 6)
    monkeypatch.setattr(
        torch, "unique_consecutive", lambda x, return_counts: (x, torch.ones(len(x), dtype=torch.int64))
    )
    with pytest.raises(ValueError, match="forward pass gives"):
        solved(problem, DPStep())


def test_a_greedy_segmentation_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Splitting one segment at a time, as a regression tree does, is worse on the staircase."""

    def greedy(segments: Squared, groups: int, breaks: int) -> list[int]:
        found = [0, groups]
        for _ in range(breaks):
            split = [
                (segments.cost(i, j) - segments.cost(i, k) - segments.cost(k, j), k)
                for i, j in pairwise(found)
                for k in range(i + 1, j)
            ]
            found = sorted([*found, max(split)[1]])
        return found[1:-1]

    monkeypatch.setattr(dp_step, "segment", greedy)
    assert solved(Step1d(4), DPStep()).upper > BESTS[3] * 1.01
