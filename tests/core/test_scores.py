"""Which points are scored and when, and what an exact method certifies."""

from __future__ import annotations

import itertools
import math
from contextlib import suppress

import pytest
import torch
from helpers.metering import Bowl, drain
from torch import nn

from optbench.core.objective import CertificateError, Stop
from optbench.core.scoring import checkpoints
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = CATALOG.problem("mlp_digits")


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


def test_scores_cannot_be_read_while_training() -> None:
    """To read them is to end the run: a score before the end would be an evaluation that nobody paid for."""
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    assert f.finish().curves[0][0]["passes"] == 0
    with pytest.raises(Stop):
        f.value(f.start()[:, None])
    assert f.spent.evaluations == 0 and f.finish().spent.refused == 1
