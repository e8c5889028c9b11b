"""precision=bf16: evaluations under autocast, lanes as alone; what it cannot be used for is said before work."""

from __future__ import annotations

import pytest
import torch

from optbench.core.minibatches import take
from optbench.core.trial import RequestError, Trial
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.execution.lane_group import run_group
from optbench.execution.request import Request
from optbench.registry.catalog import Catalog

CATALOG = Catalog()


def trials(problem: str, optimizer: str, lanes: int, **hyper: object) -> list[Trial]:
    return [Trial(problem, optimizer, tuple(sorted(hyper.items())), seed, 10.0) for seed in range(lanes)]


@pytest.mark.parametrize("name", ["mlp_digits", "cnn_digits", "mlp_alzheimer", "autoencoder_fashion"])
def test_gradients_are_rounded_and_lanes_are_what_they_are_alone(name: str) -> None:
    """Within bf16's 8 bits; a loss is not rounded, whichever way it is computed."""
    problem = CATALOG.problem(name)
    data, index = splits(problem, "cpu").train, torch.arange(32).repeat(2, 1)
    full, *mixed = (
        BatchedModel(problem, (0, 1), "cpu", precision=precision, steps=steps)
        for precision, steps in (("float32", 0), ("bf16", 0), ("bf16", 1000))
    )
    loss, exact = full.gradients(full.matrix, data, index)
    for model in mixed:
        rounded, gradients = model.gradients(model.matrix, data, index)
        assert gradients.dtype == torch.float32
        assert 1e-4 < float((gradients - exact).norm() / exact.norm()) < 0.1
        torch.testing.assert_close(rounded, loss, rtol=2e-3, atol=0)
        assert float((rounded.bfloat16() - rounded).abs().max()) > 0
    alone = BatchedModel(problem, (0,), "cpu", precision="bf16")
    if not problem.stochastic:
        torch.testing.assert_close(alone.backward(take(data, index[0])), rounded[0], rtol=1e-3, atol=0)


def test_a_run_in_bf16_ends_elsewhere_and_is_scored_in_float32() -> None:
    full, mixed = (run_group(trials("mlp_digits", "adam", 2, **more), CATALOG) for more in ({}, {"precision": "bf16"}))
    for a, b in zip(full, mixed, strict=True):
        assert b.status == "spent" and b.flops == a.flops
        assert b.curve[0]["loss"] == a.curve[0]["loss"]  # the same start, scored alike
        assert 0 < abs(b.curve[-1]["loss"] - a.curve[-1]["loss"]) < 0.1 * a.curve[-1]["loss"]
    swarm = run_group(trials("mlp_digits", "pso", 1, precision="bf16"), CATALOG)[0]
    assert swarm.status == "spent"


@pytest.mark.parametrize(("problem", "optimizer"), [("rosenbrock", "adam"), ("step_1d", "dp_step")])
def test_what_is_not_float32_or_exact_takes_no_precision(problem: str, optimizer: str) -> None:
    record = run_group(trials(problem, optimizer, 1, precision="bf16"), CATALOG)[0]
    assert record.status == "inapplicable" and "networks in float32" in str(record.error)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(RequestError, match="'fp8' is none of float32, bf16"):
        CATALOG.optimizer("adam", {"precision": "fp8"})


def test_a_run_gives_its_precision_to_every_optimizer() -> None:
    asked = Request(problems=["mlp_iris"], optimizers=["adam[lr=0.1,0.2]", "adamw{ndim=2} + sgd"], precision="bf16")
    found = asked.resolved_suite().optimizers
    assert found[:2] == ("adam[lr=0.1,precision=bf16]", "adam[lr=0.2,precision=bf16]")
    from optbench.registry.specs import parse

    for text in found:
        for name, settings in parse(text):
            assert CATALOG.optimizer(name, settings).precision == "bf16"
