"""Traced functions: what depends on the batch alone is computed once, results are never overwritten by later calls."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from optbench.core.objective import Stop
from optbench.engine.compile.trace import traced
from optbench.engine.metered import metered
from optbench.engine.once import Once
from optbench.engine.population import MIN_BLOCKS, Population
from optbench.registry.catalog import Catalog


def test_once_computes_again_for_other_tensors_and_for_changed_ones() -> None:
    calls = []

    def double(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(x.clone())
        return (2 * x,)

    once, x = Once(double), torch.ones(2)
    assert once(x)[0].tolist() == once(x)[0].tolist() == [2, 2] and len(calls) == 1
    assert once(torch.ones(2))[0].tolist() == [2, 2] and len(calls) == 2  # equal, but another tensor
    once(x)
    x.add_(1)
    assert once(x)[0].tolist() == [4, 4] and len(calls) == 4


def layer(x: Tensor, table: Tensor) -> Tensor:
    return F.relu(x @ table.exp())


def test_a_result_survives_the_next_call_and_inputs_are_left_alone() -> None:
    x, table = torch.randn(3, 4), torch.randn(4, 5)
    run = traced(layer, x, table)
    assert run is not layer
    first, kept, before = run(x, table), layer(x, table), x.clone()
    other = run(-x, table)
    assert torch.equal(first, kept) and torch.equal(other, layer(-x, table)) and torch.equal(x, before)


def test_what_the_batch_alone_decides_is_computed_again_when_it_changes() -> None:
    x, table = torch.randn(3, 4), torch.randn(4, 5)
    run = traced(layer, x, table)
    run(x, table)
    table.mul_(2)
    assert torch.equal(run(x, table), layer(x, table))
    fresh = torch.randn(4, 5)
    assert torch.equal(run(x, fresh), layer(x, fresh))


def test_a_reader_of_the_sum_before_the_activation_keeps_it_out_of_place() -> None:
    def residual(x: Tensor, table: Tensor) -> Tensor:
        z = x @ table
        return F.relu(z) + z

    x, table = torch.randn(3, 4), torch.randn(4, 5)
    run = traced(residual, x, table)
    assert torch.equal(run(x, table), residual(x, table))
    assert torch.equal(traced(lambda x, _: x.relu().sum(), x, table)(x, table), x.relu().sum())


def test_a_function_that_looks_at_values_comes_back_as_it_is() -> None:
    def sign(x: Tensor, table: Tensor) -> Tensor:
        return x.sum() if table.sum() > 0 else -x.sum()

    assert traced(sign, torch.ones(2), torch.ones(2)) is sign


def test_a_result_that_depends_on_the_batch_alone_is_given_too() -> None:
    x, table = torch.ones(2), torch.arange(3.0)
    assert torch.equal(traced(lambda x, table: table.exp(), x, table)(x, table), table.exp())


def test_eager_compiles_nothing_and_trains_the_same() -> None:
    """With `eager` no step is compiled: the same losses, no seconds spent on compiling."""

    def train(eager: bool) -> tuple[list[float], float]:
        f = metered(Catalog().problem("mlp_iris"), (0, 1), 60.0, batch=8, eager=eager)
        optimizer = torch.optim.SGD(f.parameters(), lr=0.05)
        with suppress(Stop):
            while True:
                f.next_step()
                optimizer.step(f.closure)  # type: ignore[arg-type]
        outcome = f.finish()
        return [point["loss"] for point in outcome.curves[1]], outcome.spent.warmup

    (eager, nothing), (compiled, seconds) = train(True), train(False)
    assert nothing == 0 < seconds
    assert eager == pytest.approx(compiled, rel=1e-4)


def test_an_eager_population_is_never_compiled() -> None:
    def losses(eager: bool) -> tuple[Tensor, Population]:
        population = Population(lambda row, batch: (row * batch[0]).sum(), eager=eager)
        for _ in range(MIN_BLOCKS + 1):
            found = population.losses(torch.ones(3, 2), (torch.ones(5, 2),))
        return found, population

    (plain, eager), (fast, compiled) = losses(True), losses(False)
    assert torch.equal(plain, fast) and not eager._compiled and compiled._compiled
