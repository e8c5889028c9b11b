"""Microseconds of processor time a trial-step: 32 lanes of muon, sam and soap against 32 plain PyTorch loops.

    pytest tests/benchmarks/bench_modern.py --benchmark-only -s

The digits MLP, batch 128, one thread. Both sides take turns, the least of the rounds counts. Processor time, not wall
time, so that other work on the machine weighs little. `soap` is run in lanes for this alone: a run takes its trials one
by one, because lanes magnify rounding.
"""

from __future__ import annotations

from contextlib import suppress
from time import process_time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.minibatches import batches
from optbench.core.objective import Stop
from optbench.core.problem import fresh
from optbench.engine.flops import costs
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog

modern = pytest.importorskip("pytorch_optimizer", reason="the extra `modern` is not installed")

LANES, BATCH, STEPS, ROUNDS = 32, 128, 40, 3


def muon(net: nn.Sequential) -> Any:
    hidden = [layer.weight for layer in net if isinstance(layer, nn.Linear)][:-1]
    rest = [p for p in net.parameters() if all(p is not weight for weight in hidden)]
    return [torch.optim.Muon(hidden, lr=0.02), torch.optim.AdamW(rest, lr=0.01)]


def sam(net: nn.Sequential) -> Any:
    return [modern.SAM(net.parameters(), base_optimizer=torch.optim.AdamW, rho=0.05, lr=0.01)]


def soap(net: nn.Sequential) -> Any:
    return [modern.SOAP(net.parameters(), lr=0.01)]


def loop(make: Any, gradients: int) -> float:
    """Processor seconds a step of one plain loop; 32 of them take 32 times as long."""
    problem = Catalog().problem("mlp_digits")
    (net,) = fresh(problem, 0)
    x, y = problem.data().train
    optimizers, stream = make(net), batches(len(x), BATCH, 0)

    def step() -> None:
        index = next(stream)

        def closure() -> Tensor:
            net.zero_grad()
            loss = problem.loss(net, (x[index], y[index]))
            loss.backward()
            return loss

        closure()
        for optimizer in optimizers:
            optimizer.step(*[closure] * (gradients > 1))

    for _ in range(10):
        step()
    began = process_time()
    for _ in range(STEPS):
        step()
    return (process_time() - began) / STEPS


def lanes(name: str, gradients: int) -> float:
    """Processor seconds a trial-step of 32 lanes: what more steps take, so that scoring and tracing fall out."""
    problem, built = Catalog().problem("mlp_digits"), Catalog().optimizer(name, {})
    price = costs(problem, BATCH, "cpu")

    def took(steps: int) -> float:
        f = metered(problem, range(LANES), steps * gradients * price.gradient / price.one_pass, batch=BATCH)
        f._scoring._next = float("inf")  # not scored: that is off a run's clock
        began = process_time()
        with suppress(Stop):
            built.optimizer.minimise(f)
        return process_time() - began

    return (took(STEPS + 30) - took(30)) / STEPS / LANES


@pytest.mark.parametrize(("name", "make", "gradients"), [("muon", muon, 1), ("sam", sam, 2), ("soap", soap, 1)])
def test_32_lanes(benchmark: Any, name: str, make: Any, gradients: int) -> None:
    found = {"loops": float("inf"), "lanes": float("inf")}
    torch.set_num_threads(1)

    def turn() -> None:
        found["loops"] = min(found["loops"], loop(make, gradients))
        found["lanes"] = min(found["lanes"], lanes(name, gradients))

    benchmark.pedantic(turn, rounds=ROUNDS)
    benchmark.extra_info |= found
    print(
        f"\n{name}: a loop {1e6 * found['loops']:.0f}, a lane of {LANES} {1e6 * found['lanes']:.0f} microseconds a step"
    )
