"""Traced functions: what depends on the batch alone is computed once, results are never overwritten by later calls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from optbench.engine.compile.trace import traced
from optbench.engine.once import Once


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
