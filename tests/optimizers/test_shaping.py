"""Gradients clipped and accumulated, points averaged: as loops with torch's own helpers, in lanes too, all paid for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from optbench.core.minibatches import batches
from optbench.core.objective import Stop
from optbench.core.trial import RequestError
from optbench.engine.flops import costs
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog
from optbench.registry.settings import adapt
from optbench.registry.specs import parse

BATCH, PASSES, SEED = 16, 40.0, 3
CATALOG = Catalog()


def optimizer(text: str) -> Any:
    ((name, hyper),) = parse(text)
    return CATALOG.optimizer(name, hyper).optimizer


def trained(method: Any, seeds: list[int]) -> tuple[list[list[float]], Any, Any]:
    """The losses of every lane, what was spent, and the final points."""
    f = metered(CATALOG.problem("mlp_iris"), seeds, PASSES, batch=BATCH)
    with suppress(Stop):
        method.minimise(f)
    outcome = f.finish()
    return [[point["loss"] for point in curve] for curve in outcome.curves], outcome, f.spent


@pytest.mark.parametrize(
    ("settings", "clip", "limit", "k", "average"),
    [
        ("clip_norm=0.3", clip_grad_norm_, 0.3, 1, ""),
        ("clip_value=0.05", clip_grad_value_, 0.05, 1, ""),
        ("accumulate=3", None, 0, 3, ""),
        ("clip_norm=0.3,accumulate=2,ema=0.9", clip_grad_norm_, 0.3, 2, "ema"),
        ("swa=0.5", None, 0, 1, "swa"),
    ],
)
def test_each_setting_equals_a_loop_with_torchs_own_helpers(
    settings: str, clip: Any, limit: float, k: int, average: str
) -> None:
    (curve,), outcome, spent = trained(optimizer(f"momentum[lr=0.05,{settings}]"), [SEED])
    scored = {int(point["forward"]) // BATCH: point["loss"] for point in outcome.curves[0]}
    problem = CATALOG.problem("mlp_iris")
    torch.manual_seed(SEED)
    net, data = problem.network(), problem.data().train
    own = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    averages = AveragedModel(
        net, multi_avg_fn=get_ema_multi_avg_fn(0.9) if average == "ema" else get_swa_multi_avg_fn()
    )
    stream, calls, taken, compared = batches(len(data[0]), BATCH, SEED), 0, 0, 0
    gradients, price = spent.forward // BATCH, costs(problem, BATCH, "cpu")
    assert spent.backward == spent.forward and gradients > 60
    for _ in range(gradients // k):
        if calls in scored:
            compared += 1
            with torch.no_grad():
                answer = averages.module if taken else net
                assert scored[calls] == problem.loss(answer, data).item(), calls
        net.zero_grad()
        for _ in range(k):
            index = next(stream)
            problem.loss(net, tuple(tensor[index] for tensor in data)).backward()
            calls += 1
        for p in net.parameters():
            if k > 1 and p.grad is not None:
                p.grad /= k
        if clip is not None:
            clip(net.parameters(), limit)
        own.step()
        if average == "ema" or (average == "swa" and calls * price.gradient >= 0.5 * price.limit(PASSES)):
            averages.update_parameters(net)
            taken += 1
    assert compared > 5 and curve[-1] < curve[0]
    if average:
        assert taken and torch.equal(outcome.points[0], nn.utils.parameters_to_vector(averages.module.parameters()))


@pytest.mark.parametrize(
    "method",
    [
        "adam[clip_norm=0.3,accumulate=2,ema=0.9]",  # rows of one matrix
        "adam[clip_value=0.05,swa=0.5]",
        "adafactor[clip_norm=0.3,accumulate=3,ema=0.9]",  # a list of parameters a lane
        "muon[accumulate=2,swa=0.2,2.clip_norm=0.5]",
    ],
)
def test_lanes_equal_serial(method: str) -> None:
    together, *_ = trained(optimizer(method), [0, 1, 2])
    for lane in range(3):
        (alone,), *_ = trained(optimizer(method), [lane])
        assert together[lane] == pytest.approx(alone, rel=1e-3) and alone[-1] < alone[0]


def test_lanes_may_differ_in_these_settings() -> None:
    lanes = [optimizer("adam[accumulate=2]"), optimizer("adam[clip_norm=0.1]"), optimizer("adam[ema=0.9]")]
    together, *_ = trained(lanes[0].together(lanes), [0, 1, 2])
    for lane, own in enumerate(lanes):
        (alone,), *_ = trained(own, [lane])
        assert together[lane] == pytest.approx(alone, rel=1e-3)


class Twice(torch.optim.SGD):
    """It evaluates twice a step at one point."""

    seen: ClassVar[list[float]] = []

    def step(self, closure: Any = None) -> Any:
        first, second = closure(), closure()
        Twice.seen += [float(first), float(second)]
        with torch.no_grad():
            return super().step()


def test_all_evaluations_of_a_step_see_the_same_minibatches() -> None:
    adapter = adapt(Twice, {"lr": 0.1, "accumulate": 3}, "Twice")
    assert adapter.lanes  # it has been tried
    Twice.seen.clear()
    _, _, spent = trained(adapter, [SEED])
    pairs = list(zip(Twice.seen[::2], Twice.seen[1::2], strict=False))
    assert len(pairs) > 8 and all(one == two for one, two in pairs) and len(set(pairs)) == len(pairs)
    assert spent.evaluations >= 6 * (len(pairs) - 1)


def test_an_average_is_scored_and_training_goes_on_where_it_was() -> None:
    plain, *_ = trained(optimizer("sgd[lr=0.3]"), [SEED])
    averaged, outcome, _ = trained(optimizer("sgd[lr=0.3,ema=0.99]"), [SEED])
    assert plain != averaged
    problem = CATALOG.problem("mlp_iris")
    f = metered(problem, [SEED], PASSES, batch=BATCH)
    with suppress(Stop):
        optimizer("sgd[lr=0.3,ema=0.99]").minimise(f)
    in_training = torch.cat([p.detach().reshape(-1) for p in f.network.parameters()])
    last: Tensor = f.finish().points[0]
    assert not torch.equal(in_training, last) and torch.equal(last, outcome.points[0])
    g = metered(problem, [SEED], PASSES, batch=BATCH)
    with suppress(Stop):
        optimizer("sgd[lr=0.3]").minimise(g)
    assert torch.equal(in_training, torch.cat([p.detach().reshape(-1) for p in g.network.parameters()]))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("adam[clip_norm=0]", "write clip_norm=1.0"),
        ("adam[clip_value=x]", "write clip_value=1.0"),
        ("adam[accumulate=1.5]", "write accumulate=4"),
        ("adam[accumulate=0]", "write accumulate=4"),
        ("adam[ema=1]", "write ema=0.99"),
        ("adam[swa=1.5]", "write swa=0.75"),
        ("adam[ema=0.9,swa=0.5]", "write ema=0.99 or swa=0.75"),
        ("muon[1.ema=0.9,2.ema=0.99]", "the parts share ema, write ema=0.9 once"),
        ("adam[clipnorm=1]", "did you mean 'clip_norm'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_corrected_notation(text: str, hint: str) -> None:
    with pytest.raises(RequestError, match=hint) as refused:
        optimizer(text)
    assert "\n" not in str(refused.value)
