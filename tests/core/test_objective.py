"""The meter: what it counts, when it stops, and that it changes nothing of what is trained."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.minibatches import batches
from optbench.core.objective import CertificateError, Objective, Stop
from optbench.core.problem import Best, Problem, Splits
from optbench.core.scoring import checkpoints
from optbench.engine.flops import flops
from optbench.engine.metered import metered
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = CATALOG.problem("mlp_digits")
SAMPLES = len(DIGITS.data().train[0])


@dataclass(frozen=True)
class Bowl(Problem):
    """A quadratic with dropout if asked: small enough to count by hand."""

    dropout: float = 0.0
    track: ClassVar[str] = "supervised"
    loss_name: ClassVar[str] = "mse"
    start: ClassVar[float] = 1.0
    best: ClassVar[Best] = Best(0.0, "bound")

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        return self.dropout > 0

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.Dropout(self.dropout), nn.Linear(4, 1))

    def data(self) -> Splits:
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(20, 3, generator=draw)
        return Splits((x, x.sum(1, keepdim=True)))

    def loss(self, net, batch):
        return F.mse_loss(net(batch[0]), batch[1])


def drain(f: Objective, step) -> None:
    with pytest.raises(Stop):
        while True:
            step()
    f.finish()


def train(f: Objective, optimizer: torch.optim.Optimizer) -> None:
    def step() -> None:
        f.next_step()
        optimizer.step(f.closure)

    drain(f, step)


def test_adam_on_digits_equals_a_bare_loop_to_the_last_bit() -> None:
    f = metered(DIGITS, [3], 30, batch=128)
    train(f, torch.optim.Adam(f.parameters(), lr=0.01))
    scored = {point["forward"] // 128: point["loss"] for point in f.finish().curves[0]}

    torch.manual_seed(3)
    net = DIGITS.network()
    x, y = DIGITS.data().train
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    stream = batches(len(x), 128, 3)
    steps = max(scored)
    assert steps > 100 and len(scored) > 20
    for step in range(steps + 1):
        if step in scored:
            with torch.no_grad():
                assert scored[step] == F.cross_entropy(net(x), y).item(), step
        index = next(stream)
        optimizer.zero_grad()
        F.cross_entropy(net(x[index]), y[index]).backward()
        optimizer.step()


def test_flops_are_those_of_an_mlp_by_hand() -> None:
    forward, backward = flops(DIGITS, 128, "cpu")
    layers = [64 * 32, 32 * 10]
    assert forward == 2 * 128 * sum(layers)
    # every layer's weight gradient, and the input gradient of all layers but the first
    assert backward == 2 * 128 * (sum(layers) + sum(layers[1:]))


def test_flops_of_a_population_are_charged_as_the_sum_of_its_candidates_and_done_as_such() -> None:
    f = metered(DIGITS, [0], 1e6)  # no checkpoint comes between
    x = f.start(6)
    f.value(x)  # the first call measures the network's width
    before = f.spent.flops
    with FlopCounterMode(display=False) as counter:
        f.value(x)
    assert f.spent.flops - before == 6 * flops(DIGITS, SAMPLES, "cpu")[0]
    # biases are done as one more column of the products
    assert f.spent.flops - before <= counter.get_total_flops() <= 1.03 * (f.spent.flops - before)


def test_counts_of_sgd_by_hand() -> None:
    f = metered(DIGITS, [0], 20, batch=100)
    forward, backward = flops(DIGITS, 100, "cpu")
    train(f, torch.optim.SGD(f.parameters(), lr=0.1))
    steps = 20 * flops(DIGITS, SAMPLES, "cpu")[0] // (forward + backward)
    assert (f.spent.forward, f.spent.backward, f.spent.evaluations) == (steps * 100, steps * 100, steps)
    assert f.spent.flops == steps * (forward + backward)
    assert f.spent.passes <= 20 < f.spent.passes + (forward + backward) / flops(DIGITS, SAMPLES, "cpu")[0]


def test_counts_of_lbfgs_follow_its_closures() -> None:
    calls = 0
    f = metered(DIGITS, [0], 25)

    def closure() -> torch.Tensor:
        nonlocal calls
        loss = f.closure()
        calls += 1
        return loss

    optimizer = torch.optim.LBFGS(f.parameters(), line_search_fn="strong_wolfe")
    drain(f, lambda: optimizer.step(closure))
    assert calls > 5 and f.spent.forward == f.spent.backward == calls * SAMPLES and f.spent.evaluations == calls


def test_counts_of_a_swarm_and_a_part_of_its_last_generation() -> None:
    f = metered(CATALOG.problem("sphere"), [0], 95)
    drain(f, lambda: f.value(f.start(20)))
    assert f.spent.evaluations == f.spent.forward == 95 and f.spent.backward == 0 and f.spent.passes == 95


def test_counts_of_scipy_equal_its_own_and_stop_passes_through() -> None:
    f = metered(CATALOG.problem("rosenbrock"), [0], 10_000)

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = f.value_and_grad(torch.from_numpy(x)[None])
        return loss.item(), gradient[0].numpy().copy()

    result = scipy.optimize.minimize(fun, f.start()[0].numpy(), jac=True, method="L-BFGS-B")
    assert (
        f.spent.evaluations == f.spent.forward == f.spent.backward == result.nfev and f.spent.passes == 2 * result.nfev
    )

    f = metered(CATALOG.problem("rosenbrock"), [0], 10)
    with pytest.raises(Stop):
        scipy.optimize.minimize(fun, f.start()[0].numpy(), jac=True, method="L-BFGS-B")
    assert f.spent.passes == 10


def test_every_optimizer_sees_the_same_batches_and_every_candidate_the_same_one() -> None:
    seen: list[torch.Tensor] = []

    class Spy(Bowl):
        def loss(self, net, batch):
            if len(batch[0]) == 7:  # scoring sees the whole split
                seen.append(batch[0])
            return super().loss(net, batch)

        vmaps = False

    f = metered(Spy(), [5], 100, batch=7)
    seen.clear()
    x = f.start(3)
    f.value(x)
    assert len(seen) == 3 and all(torch.equal(seen[0], other) for other in seen)
    f.value(x)
    by_swarm = [seen[0], seen[3]]
    g = metered(Spy(), [5], 100, batch=7)
    g.parameters()
    seen.clear()
    for _ in range(2):
        g.next_step()
        g.closure()
        g.closure()
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    assert [torch.equal(a, b) for a, b in zip(by_swarm, seen[::2], strict=True)] == [True, True]


def test_batches_visit_every_sample_once_an_epoch_and_depend_on_the_seed() -> None:
    stream = batches(10, 4, 0)
    drawn = torch.cat([next(stream) for _ in range(5)])
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert not torch.equal(next(batches(100, 50, 0)), next(batches(100, 50, 1)))


def test_after_stop_nothing_is_done_or_counted() -> None:
    f = metered(Bowl(), [0], 3)
    drain(f, lambda: f.value(f.start(2)))
    spent, curve = f.spent.flops, list(f.finish().curves[0])
    for call in (lambda: f.value(f.start(2)), f.closure, lambda: f.value_and_grad(f.start()), lambda: f.charge(1)):
        with pytest.raises(Stop):
            call()
    assert (f.spent.flops, f.finish().curves[0], f.spent.refused) == (spent, curve, 4)


def test_checkpoints_are_log_spaced_and_cost_no_time() -> None:
    f = metered(Bowl(), [0], 2000)
    drain(f, lambda: f.value_and_grad(f.start()))
    passes = [point["passes"] for point in f.finish().curves[0]]
    assert passes[0] == 0 and passes == sorted(passes) and 20 < len(passes) <= 42
    assert f.spent.passes - passes[-1] < 1e-9
    assert 1.1 < passes[-1] / passes[-2] < 1.3
    seconds = [point["seconds"] for point in f.finish().curves[0]]
    assert seconds == sorted(seconds) and seconds[0] < 1e-3


@pytest.mark.parametrize(("passes", "scores"), [(2, 8), (20, 20), (2000, 40)])
def test_scores_are_no_more_than_the_budget_has_passes(passes: float, scores: int) -> None:
    costs = checkpoints(passes * 10**9, 10**9)
    assert len(costs) == scores and costs[-1] == passes * 10**9
    assert costs[0] == pytest.approx(max(passes / 1000, 0.25) * 1e9)
    steps = [later / sooner for sooner, later in itertools.pairwise(costs)]
    assert max(steps) == pytest.approx(min(steps))


class Buffered(Bowl):
    """A bowl whose network holds more than its parameters: in training it counts its forward passes."""

    def network(self) -> nn.Module:
        net = super().network()
        net.register_buffer("seen", torch.zeros(1))
        net.register_forward_pre_hook(lambda module, _: module.seen.add_(1) and None if module.training else None)
        return net


@pytest.mark.parametrize(("bowl", "often"), [(Bowl, False), (Buffered, True)])
def test_a_point_that_has_not_moved_is_scored_once(bowl, often, monkeypatch) -> None:
    f = metered(bowl(), [0, 1], 400)
    scored = []
    score = f._model.score
    monkeypatch.setattr(f._model, "score", lambda points, data: scored.append(len(points)) or score(points, data))  # type: ignore[func-returns-value]
    worse, better = f.start(1) + 100, f.start(1)
    better[0] += 100
    drain(f, lambda: f.value(better if f.progress > 0.5 else worse))
    assert min(len(curve) for curve in f.finish().curves) > 20
    # Both lanes move at the first evaluation, the second one alone once more.
    assert scored == ([2, 1] if not often else [2] * len(scored)) and (len(scored) > 20) == often
    assert (
        len({point["loss"] for point in f.finish().curves[0][1:]}) == 1
        and len({p["loss"] for p in f.finish().curves[1][1:]}) == 2
    )


def test_best_point_is_kept_and_a_recommendation_overrides_it() -> None:
    f = metered(CATALOG.problem("sphere"), [0], 100)
    best = torch.full((1, 1, f.dim), 0.1, dtype=torch.float64)
    f.value(best)
    f.value(best + 1)
    f.finish()
    assert f.finish().curves[0][-1]["loss"] == pytest.approx(0.1**2 * f.dim)
    f = metered(CATALOG.problem("sphere"), [0], 100)
    f.value(best)
    f.recommend(best[:, 0] + 1)
    f.finish()
    assert f.finish().curves[0][-1]["loss"] == pytest.approx(1.1**2 * f.dim)


def test_values_that_are_not_finite_are_infinite_counted_and_never_chosen() -> None:
    f = metered(CATALOG.problem("sphere"), [0], 100)
    x = torch.ones(1, 3, f.dim, dtype=torch.float64)
    x[0, 0], x[0, 1] = math.nan, math.inf
    losses = f.value(x)
    f.finish()
    assert losses[0].tolist() == [math.inf, math.inf, f.dim]
    assert f.finish().nonfinite == [2] and f.finish().curves[0][-1]["loss"] == f.dim


def test_lanes_train_as_if_each_were_alone() -> None:
    seeds = [0, 1, 2]
    f = metered(DIGITS, seeds, 20, batch=64)
    train(f, torch.optim.Adam(f.parameters(), lr=0.01))
    for lane, seed in enumerate(seeds):
        g = metered(DIGITS, [seed], 20, batch=64)
        train(g, torch.optim.Adam(g.parameters(), lr=0.01))
        assert f.spent.forward == g.spent.forward
        together, alone = (np.array([p["loss"] for p in c]) for c in (f.finish().curves[lane], g.finish().curves[0]))
        np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_a_lane_that_diverges_leaves_the_others_alone() -> None:
    f = metered(CATALOG.problem("sphere"), [0, 1], 200)
    optimizer = torch.optim.SGD(
        [
            {"params": f.parameters(slice(0, 1)), "lr": 1e100},
            {"params": f.parameters(slice(1, 2)), "lr": 0.1},
        ]
    )
    train(f, optimizer)
    assert f.finish().diverged[0] is not None and f.finish().diverged[1] is None
    g = metered(CATALOG.problem("sphere"), [1], 200)
    train(g, torch.optim.SGD(g.parameters(), lr=0.1))
    assert f.finish().curves[1][-1]["loss"] == pytest.approx(g.finish().curves[0][-1]["loss"], rel=1e-12)
    assert len(f.finish().curves[0]) < len(f.finish().curves[1])


def test_dropout_repeats_with_the_seed_and_leaves_the_global_stream_alone() -> None:
    def losses(seed: int) -> list[float]:
        f = metered(Bowl(dropout=0.5), [seed], 100)
        x = f.start()
        return [f.value_and_grad(x)[0].item() for _ in range(4)]

    before = torch.get_rng_state()
    first = losses(1)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert losses(1) == first and losses(2) != first and len(set(first)) == 4


def test_certificates_are_recomputed() -> None:
    f = metered(Bowl(), [0], 100)
    x = f.start()
    loss = f.value(x[:, None]).item()
    f.certify(x, loss - 1, loss, "a test")
    assert f.spent.forward == 40
    with pytest.raises(CertificateError, match="forward pass gives"):
        f.certify(x, loss, loss - 0.01, "a lie")
    with pytest.raises(CertificateError, match="above the upper"):
        f.certify(x, loss + 0.1, loss, "a contradiction")
    assert f.finish().certificates[0] == {"lower": loss - 1, "upper": loss, "scope": "a test", "exact": False}


@pytest.mark.parametrize("shape", [(1, 21), (2, 1, 21), (1, 3, 5), (1, 0, 21)])
def test_points_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    f = metered(Bowl(), [0], 10)
    with pytest.raises(ValueError, match=r"takes \(1, P, 21\)"):
        f.value(torch.zeros(shape))
    assert f.spent.flops == 0


def test_work_cannot_be_hidden_in_a_copy_a_negative_charge_or_an_exception() -> None:
    problem = CATALOG.problem("mlp_iris")
    f = metered(problem, [0], 20.0)
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(f)
    with pytest.raises(TypeError, match="cannot be copied"):
        pickle.dumps(f)
    with pytest.raises(ValueError, match="nothing is given back"):
        f.charge(forward=-1)
    wrong = f.start()[:, None].expand(1, 3, f.dim)
    before = f.spent.passes
    f._model.losses = lambda *_: 1 / 0  # a network that raises half-way
    with pytest.raises(ZeroDivisionError):
        f.value(wrong)
    assert f.spent.passes == before + 3


def test_a_long_scope_is_cut() -> None:
    f = metered(Bowl(), [0], 100)
    x = f.start()
    loss = f.value(x[:, None]).item()
    f.certify(x, loss, loss, "all networks\nand " * 50)
    found = f.finish().certificates[0]
    assert found and 70 < len(found["scope"]) <= 80 and found["scope"].endswith("...") and "\n" not in found["scope"]


def test_one_certificate_may_go_beyond_the_budget_and_no_second() -> None:
    f = metered(CATALOG.problem("step_1d"), [0], 1.0)
    x = f.start()
    loss = f.value(x[:, None]).item()
    f.certify(x, 0.0, loss, "nothing")
    with pytest.raises(Stop):
        f.certify(x, 0.0, loss, "nothing")
    with pytest.raises(CertificateError, match="no loss"):
        f.certify(x, 0.0, float("nan"), "nothing")


@pytest.mark.parametrize("lanes", ["one", "stacked", "side by side"])
def test_parameters_that_an_optimizer_gives_new_memory_are_scored(lanes: str) -> None:
    """`p.data = ...` leaves the views that the objective handed out; what is scored must follow."""

    def trained(replace: bool) -> list[float]:
        f = metered(CATALOG.problem("mlp_iris"), [0] if lanes == "one" else [0, 1, 2], 60.0)
        if lanes == "side by side":
            parameters = [p for lane in range(3) for p in f.parameters_of(lane)]
        else:
            parameters = f.parameters()
        with suppress(Stop):
            while True:
                f.closure()
                with torch.no_grad():
                    for p in parameters:
                        if replace:
                            p.data = p.data - 0.1 * p.grad
                        else:
                            p.sub_(0.1 * p.grad)
        f.finish()
        assert len({curve[-1]["loss"] < curve[0]["loss"] for curve in f.finish().curves}) == 1
        return [point["loss"] for curve in f.finish().curves for point in curve]

    replaced = trained(True)
    assert replaced[-1] < replaced[0]
    assert replaced == pytest.approx(trained(False), rel=1e-5)


def test_evaluating_another_point_leaves_the_parameters_in_training_alone() -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    before = [p.detach().clone() for p in f.parameters()]
    elsewhere = f.start() + 1
    f.value(elsewhere[:, None])
    f.value_and_grad(elsewhere)
    assert all(torch.equal(p, q) for p, q in zip(f.parameters(), before, strict=True))


@pytest.mark.parametrize("oracle", ["value_and_grad", "closure"])
def test_a_gradient_that_raises_half_way_is_charged(oracle: str) -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    f.parameters()
    f._model.backward = lambda *_: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        f.closure() if oracle == "closure" else f.value_and_grad(f.start())
    assert f.spent.evaluations == 1 and f.spent.backward == f.spent.forward > 0


def test_scores_cannot_be_read_while_training() -> None:
    """To read them is to end the run: a score before the end would be an evaluation that nobody paid for."""
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    assert f.finish().curves[0][0]["passes"] == 0
    with pytest.raises(Stop):
        f.value(f.start()[:, None])
    assert f.spent.evaluations == 0 and f.finish().spent.refused == 1


def test_other_threads_are_refused_for_they_would_not_be_counted() -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="its own process and thread alone"):
        pool.submit(f.value, f.start()[:, None]).result()
    assert f.spent.evaluations == 0


def test_no_public_name_leads_to_the_networks() -> None:
    """An optimizer that keeps to public names meets tensors, numbers and oracles, never the networks or the data."""
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    f.finish()
    for name in dir(f):
        if not name.startswith("_"):
            assert not isinstance(getattr(f, name), BatchedModel | Splits | Problem), name
