"""The meter changes nothing of what is trained: alone, in lanes, with dropout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.metering import Bowl, train
from torch.nn import functional as F

from optbench.core.minibatches import batches
from optbench.core.problem import Problem, Splits
from optbench.engine.metered import metered
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = CATALOG.problem("mlp_digits")


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


@pytest.mark.parametrize("shape", [(1, 21), (2, 1, 21), (1, 3, 5), (1, 0, 21)])
def test_points_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    f = metered(Bowl(), [0], 10)
    with pytest.raises(ValueError, match=r"takes \(1, P, 21\)"):
        f.value(torch.zeros(shape))
    assert f.spent.flops == 0


def test_evaluating_another_point_leaves_the_parameters_in_training_alone() -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    before = [p.detach().clone() for p in f.parameters()]
    elsewhere = f.start() + 1
    f.value(elsewhere[:, None])
    f.value_and_grad(elsewhere)
    assert all(torch.equal(p, q) for p, q in zip(f.parameters(), before, strict=True))


def test_no_public_name_leads_to_the_networks() -> None:
    """An optimizer that keeps to public names meets tensors, numbers and oracles, never the networks or the data."""
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    f.finish()
    for name in dir(f):
        if not name.startswith("_"):
            assert not isinstance(getattr(f, name), BatchedModel | Splits | Problem), name
