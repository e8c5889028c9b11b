"""What a value and a gradient are charged is what runs: counted by hand, and by torch while the objective answers."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.problem import Problem
from optbench.engine.flops import flops
from optbench.engine.metered import metered
from optbench.problems.cartpole import CartPole
from optbench.problems.cnn_digits import CnnDigits
from optbench.problems.mlp_regression import MlpRegression
from optbench.problems.pendulum import Pendulum


class Hand(NamedTuple):
    """FLOPs by hand, two a multiply-add: `value` of a batch, and what its gradient runs on top."""

    problem: Problem
    samples: int
    value: int
    on_top: int


def dense(samples: int, *units: int) -> int:
    """A forward of dense layers."""
    return 2 * samples * sum(a * b for a, b in pairwise(units))


def dense_backward(samples: int, *units: int) -> int:
    """Every layer's weight gradient, and the input gradient of all layers but the first."""
    return dense(samples, *units) + dense(samples, *units[1:])


# Reinforcement: `value` rolls the episodes out, 100 ticks each. A gradient rolls them out too, and then it runs the
# network forward (REINFORCE's surrogate) and backward on all the states that were met.
TICKS = 64 * 100
# cnn_digits, a picture: 3x3 kernels from 1 to 8 channels on 8x8 pixels, from 8 to 16 on 4x4; a dense layer 64 -> 10.
FIRST, SECOND, LAST = 2 * 64 * 9 * 8, 2 * 16 * 9 * 8 * 16, 2 * 64 * 10
BY_HAND = {
    "cartpole": Hand(CartPole(), 64, dense(TICKS, 4, 16, 1), dense(TICKS, 4, 16, 1) + dense_backward(TICKS, 4, 16, 1)),
    "pendulum": Hand(Pendulum(), 64, dense(TICKS, 3, 16, 1), dense(TICKS, 3, 16, 1) + dense_backward(TICKS, 3, 16, 1)),
    "mlp": Hand(MlpRegression(), 64, dense(64, 8, 16, 1), dense_backward(64, 8, 16, 1)),
    "cnn": Hand(CnnDigits(), 128, 128 * (FIRST + SECOND + LAST), 128 * (FIRST + 2 * SECOND + 2 * LAST)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_charges_equal_hand_counts(name: str) -> None:
    problem, samples, value, on_top = BY_HAND[name]
    assert flops(problem, samples, "cpu") == (value, on_top)


@pytest.mark.parametrize("name", BY_HAND)
def test_what_is_charged_is_what_runs(name: str) -> None:
    """torch counts the FLOPs while the objective answers a value and a gradient."""
    problem, samples, value, on_top = BY_HAND[name]
    f = metered(problem, [0], 1e6, batch=samples)
    x = f.start()
    for ask, cost in ((lambda: f.value(x[:, None]), value), (lambda: f.value_and_grad(x), value + on_top)):
        before = f.spent.flops
        with FlopCounterMode(display=False) as counter:
            ask()
        assert f.spent.flops - before == counter.get_total_flops() == cost


def test_a_gradient_of_reinforce_costs_3_2_values() -> None:
    """2,048,000 FLOPs used to be charged for a value that runs 1,024,000, and 1.6 values for a gradient."""
    value, on_top = flops(CartPole(), 64, "cpu")
    assert value == 1_024_000
    assert (value + on_top) / value == pytest.approx(3.2)


def test_a_large_network_is_counted_in_a_line_from_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were small, and as it is: the same to the last FLOP, forward and backward."""
    from optbench.engine import flops as module

    problem = CnnDigits()
    whole = flops(problem, 1000, "cpu")
    monkeypatch.setattr(module, "LARGE", 0)
    flops.cache_clear()
    counted = []
    real = module.head

    def head(batch, count):
        counted.append(count)
        return real(batch, count)

    monkeypatch.setattr(module, "head", head)
    assert flops(problem, 1000, "cpu") == whole
    flops.cache_clear()
    assert max(counted) == module.MAX_COUNTED
