"""What the exact methods refuse before any work, each naming the limit and the way out."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers.dp_cases import Small
from torch import nn

from optbench.core.objective import Inapplicable, Structure
from optbench.core.trial import Trial
from optbench.engine.metered import metered
from optbench.execution.lane_group import run_group
from optbench.optimizers.exact.chain import read
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.optimizers.exact.dp_step import DPStep
from optbench.registry.catalog import Catalog

X = torch.tensor([[-1.0], [0.5], [1.0]], dtype=torch.float64)
Y = torch.tensor([[1.0], [0.0], [1.0]], dtype=torch.float64)
NAN = torch.tensor([[0.0], [float("nan")], [1.0]], dtype=torch.float64)


def small(activation: str = "tanh", widths: tuple[int, ...] = (1, 2, 1), **settings: Any) -> Small:
    given = {"x": X.expand(-1, widths[0]), "y": Y.expand(-1, widths[-1]), "grid": (-1.0, 0.0, 1.0), **settings}
    return Small(widths=widths, activation=activation, **given)


def wide(samples: int) -> Small:
    x = torch.linspace(-1, 1, samples, dtype=torch.float64)[:, None]
    return small(x=x, y=torch.sin(3 * x), widths=(1, 6, 1), grid=tuple(float(value) for value in range(-4, 5)))


@dataclass(frozen=True, eq=False)
class Other(Small):
    """The same data under a network of the test's own."""

    layers: tuple[nn.Module, ...] = ()
    stochastic: bool = False  # type: ignore[misc]

    def network(self) -> nn.Module:
        return nn.Sequential(*self.layers)


def other(*layers: nn.Module, stochastic: bool = False) -> Other:
    return Other(x=X, y=Y, widths=(1, 1), grid=(-1.0, 0.0, 1.0), layers=layers, stochastic=stochastic)


def refusal(problem: Small, optimizer: Any, batch: int | None = None) -> str:
    """The reason; the objective must not have been evaluated or charged for it."""
    f = metered(problem, [0], 100.0, batch=batch)
    with pytest.raises(Inapplicable) as caught:
        optimizer.minimise(f)
    assert f.spent.forward == f.spent.backward == f.spent.evaluations == 0 and f.finish().certificates == [None]
    reason = str(caught.value)
    assert "\n" not in reason and len(reason) < 200
    return reason


NETWORKS = {
    "dropout": (other(nn.Linear(1, 2), nn.Tanh(), nn.Dropout(), nn.Linear(2, 1), stochastic=True), "remove it"),
    "dropout, undeclared": (other(nn.Linear(1, 2), nn.Tanh(), nn.Dropout(0.0), nn.Linear(2, 1)), "layer Dropout"),
    "convolution": (other(nn.Unflatten(1, (1, 1)), nn.Conv1d(1, 1, 1), nn.Flatten()), "nn.Sequential of nn.Linear"),
    "activation": (other(nn.Linear(1, 2), nn.GELU(), nn.Linear(2, 1)), "layer GELU"),
    "activation at the end": (other(nn.Linear(1, 1), nn.Tanh()), "move its last activation into the loss"),
    "two activations": (other(nn.Linear(1, 2), nn.Tanh(), nn.ReLU(), nn.Linear(2, 1)), "after one linear layer"),
    "inputs not finite": (small(x=NAN), "the inputs hold a value that is not finite"),
    "targets not finite": (small(y=NAN), "the targets hold a value that is not finite"),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", [DPStep(), DPGrid()], ids=["dp_step", "dp_grid"])
def test_networks_and_data(optimizer: Any, name: str) -> None:
    problem, reason = NETWORKS[name]
    assert re.search(reason, refusal(problem, optimizer))


@pytest.mark.parametrize(
    ("targets", "loss", "reason"),
    [
        (Y.expand(-1, 2), "mse", r"targets of shape \(3, 2\): this network takes \(3, 1\)"),
        (torch.tensor([0, 1, 3]), "cross-entropy", r"labels outside 0\.\.0, the network's outputs"),
        (Y, "cross-entropy", r"takes \(N,\) integer labels"),
        (2 * Y, "bce", r"targets outside 0\.\.1"),
    ],
)
def test_targets(targets: torch.Tensor, loss: str, reason: str) -> None:
    structure = Structure(nn.Linear(1, 1, device="meta"), X, targets, loss, True, False, None)
    with pytest.raises(Inapplicable, match=reason):
        read(structure, (loss,), ())


def test_tied_weights() -> None:
    shared = nn.Linear(1, 1)
    assert "appears twice" in refusal(other(shared, nn.Tanh(), shared), DPGrid())


@pytest.mark.parametrize("optimizer", [DPStep(), DPGrid()], ids=["dp_step", "dp_grid"])
def test_minibatches(optimizer: Any) -> None:
    assert "run it on the full batch" in refusal(small("step"), optimizer, batch=2)


STEP = {
    "input dimension": (small("step", (2, 2, 1)), DPStep(), "input dimension 2: dp_step takes 1, dp_grid takes more"),
    "hidden layers": (small("step", (1, 2, 2, 1)), DPStep(), "2 hidden layers in 1-2-2-1: dp_step takes one"),
    "activation": (small("relu"), DPStep(), "activation relu: this method takes sigmoid, sign, step or tanh"),
    "no bias": (small("step", bias=(False, True)), DPStep(), "a layer without bias"),
    "points": (small("step"), DPStep(points=2), "3 distinct inputs, points=2 at most: raise points or use fewer"),
    "memory": (small("step", loss_name="l1"), DPStep(cap=1e-9), "raise cap or use fewer samples"),
}

GRID = {
    "no grid": (small(grid=None), DPGrid(), "states no weight grid: give one, such as grid="),
    "empty grid": (small(), DPGrid(grid=()), "at least two distinct values, such as grid="),
    "one value": (small(), DPGrid(grid=(2.0, 2.0)), "at least two distinct values"),
    "infinite value": (small(), DPGrid(grid=(0.0, float("inf"))), "a value is not finite"),
    "loss": (small(loss_name="l1"), DPGrid(), "loss 'l1': this method takes bce or mse"),
    "no hidden layer": (small(widths=(1, 1)), DPGrid(), "no hidden layer: dp_grid takes at least one"),
    "memory": (wide(200), DPGrid(cap=0.5), "GiB, cap=0.5: use beam=1000, a coarser grid or fewer samples"),
    "memory, streamed": (wide(60), DPGrid(cap=0.5, middle=False), "use middle=True, beam=1000"),
    "memory, weights": (wide(200), DPGrid(cap=1e-5), "responses of a unit: .* use a coarser grid"),
    "memory, layers": (small(widths=(1, 4, 4, 1)), DPGrid(cap=1e-4), "activations of layer 1: .* use beam=1000"),
    "memory, outputs": (small(widths=(1, 1, 9)), DPGrid(cap=0.01), "the contributions of a unit: .* coarser grid"),
    "rounding": (
        small("step", x=torch.tensor([[0.1], [0.2], [0.7]], dtype=torch.float64)),
        DPGrid(grid=(-0.1, 0.1, 1.0, -0.01)),
        "within rounding of its threshold",
    ),
}


@pytest.mark.parametrize("name", STEP)
def test_dp_step(name: str) -> None:
    problem, optimizer, reason = STEP[name]
    assert re.search(reason, refusal(problem, optimizer))


@pytest.mark.parametrize("name", GRID)
def test_dp_grid(name: str) -> None:
    problem, optimizer, reason = GRID[name]
    assert re.search(reason, refusal(problem, optimizer))


def test_refused_memory_was_not_allocated() -> None:
    """The table of 4e8 sums that would be too large is refused within the memory of its 3,000 contributions."""
    tracemalloc.start()
    refusal(wide(200), DPGrid(cap=0.5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 2**30


@pytest.mark.parametrize(
    ("cls", "settings", "reason"),
    [
        (DPStep, {"points": 0}, "points=0"),
        (DPStep, {"cap": -1.0}, "cap=-1"),
        (DPGrid, {"cap": 0.0}, "cap=0"),
        (DPGrid, {"beam": -1}, "beam=-1"),
        (DPGrid, {"penalty": float("nan")}, "penalty=nan"),
        (DPGrid, {"power": -2.0}, "power=-2"),
        (DPGrid, {"grid": "fine"}, r"grid='fine': a tuple of numbers"),
        (DPGrid, {"grid": (0.0, "1")}, r"a tuple of numbers"),
    ],
)
def test_settings(cls: type, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        cls(**settings)


@pytest.mark.parametrize(
    ("problem", "optimizer", "hyper", "reason"),
    [
        ("mlp_digits", "dp_step", (), "needs 'exact'"),
        ("step_bmi", "dp_grid", (), "loss 'l1': this method takes bce or mse"),
        ("sine_grid_k3_l3", "dp_grid", (("grid", (1.0,)),), "at least two distinct values"),
        ("sine_grid_k4_l3", "dp_grid", (("cap", 1e-4),), "cap=0.0001"),
    ],
)
def test_a_suite_records_them_as_inapplicable(
    problem: str, optimizer: str, hyper: tuple[tuple[str, Any], ...], reason: str
) -> None:
    (record,) = run_group([Trial(problem, optimizer, hyper, 0, 10.0)], Catalog())
    assert record.status == "inapplicable" and record.error is not None and reason in record.error
    assert record.forward == record.backward == 0 and record.certificate is None
