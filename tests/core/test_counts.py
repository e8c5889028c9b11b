"""What the meter counts, and that nothing is done which it does not."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.optimize
import torch
from helpers.metering import Bowl, drain, train
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.objective import Stop
from optbench.engine.flops import flops
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIGITS = CATALOG.problem("mlp_digits")
SAMPLES = len(DIGITS.data().train[0])


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


def test_after_stop_nothing_is_done_or_counted() -> None:
    f = metered(Bowl(), [0], 3)
    drain(f, lambda: f.value(f.start(2)))
    spent, curve = f.spent.flops, list(f.finish().curves[0])
    for call in (lambda: f.value(f.start(2)), f.closure, lambda: f.value_and_grad(f.start()), lambda: f.charge(1)):
        with pytest.raises(Stop):
            call()
    assert (f.spent.flops, f.finish().curves[0], f.spent.refused) == (spent, curve, 4)


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


@pytest.mark.parametrize("oracle", ["value_and_grad", "closure"])
def test_a_gradient_that_raises_half_way_is_charged(oracle: str) -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    f.parameters()
    f._model.backward = lambda *_: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        f.closure() if oracle == "closure" else f.value_and_grad(f.start())
    assert f.spent.evaluations == 1 and f.spent.backward == f.spent.forward > 0


def test_other_threads_are_refused_for_they_would_not_be_counted() -> None:
    f = metered(CATALOG.problem("mlp_iris"), [0], 60.0)
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="its own process and thread alone"):
        pool.submit(f.value, f.start()[:, None]).result()
    assert f.spent.evaluations == 0
