"""What a problem does not state is found out: track, type, noise, loss, and whether lanes can be batched."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.found_out import changing_buffers
from optbench.core.objective import Stop
from optbench.core.outcome import Outcome
from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.core.trial import LOWEST_SEEN
from optbench.engine.metered import metered
from optbench.registry.catalog import Catalog


@dataclass(frozen=True)
class Bare(Problem):
    """Network, data and loss, and nothing stated."""

    kind: str = "plain"
    loss_is: str = "cross-entropy"
    width: torch.dtype = torch.float32
    biased: bool = False
    batch = 16

    def network(self) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(16, 3)]
        if self.kind == "norm":
            layers = [
                nn.Conv2d(1, 4, 3, bias=self.biased),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(16, 3),
            ]
        if self.kind == "dropout":
            layers.insert(1, nn.Dropout(0.5))
        if self.kind == "looks":
            layers.insert(1, Looks())
        return nn.Sequential(*layers)

    def data(self) -> Splits:
        stream = torch.Generator().manual_seed(0)
        x = torch.randn(60, 1, 4, 4, generator=stream).to(self.width)
        y = torch.randint(0, 3, (60,), generator=stream)
        return Splits((x, y), (x[:20], y[:20]))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        found = F.cross_entropy(net(batch[0]), batch[1])
        return found if self.loss_is == "cross-entropy" else found + 0.0


class Looks(nn.Module):
    """Does something else by the values that it sees, which vmap cannot batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if float(x.detach().sum()) > 1e9 else x


def test_nothing_needs_to_be_stated() -> None:
    bare = Bare()
    assert (bare.track, bare.dtype, bare.stochastic, bare.loss_name, bare.vmaps) == (
        "supervised",
        torch.float32,
        False,
        "cross-entropy",
        True,
    )
    assert bare.best.source == LOWEST_SEEN and math.isnan(bare.best.value) and bare.targets == {}
    assert bare.start == pytest.approx(1.1, abs=0.3)


@pytest.mark.parametrize(
    ("problem", "found"),
    [
        (Bare("dropout"), {"stochastic": True, "vmaps": True}),
        (Bare("norm"), {"stochastic": False, "vmaps": True}),
        (Bare("norm", biased=True), {"vmaps": True}),  # the gradient of that bias is rounding alone
        (Bare("looks"), {"vmaps": False}),
        (Bare(loss_is="twisted"), {"loss_name": "own"}),
        (Bare(width=torch.float64), {"dtype": torch.float64}),
    ],
)
def test_each_is_what_the_network_data_and_loss_do(problem: Bare, found: dict[str, object]) -> None:
    assert {name: getattr(problem, name) for name in found} == found


def test_what_is_stated_counts() -> None:
    class Stated(Bare):
        track = "reinforcement"
        vmaps = False
        best = Best(0.5, "optimum")

    assert (Stated().track, Stated().vmaps, Stated().best.value) == ("reinforcement", False, 0.5)


def test_only_buffers_that_training_changes_are_a_state() -> None:
    assert changing_buffers(Bare("norm")) == ("1.running_mean", "1.running_var", "1.num_batches_tracked")

    class Constant(Bare):
        def network(self) -> nn.Module:
            net = super().network()
            net.register_buffer("mask", torch.ones(3))
            return net

    assert changing_buffers(Constant()) == ()


def trained(seeds: list[int], optimizer: str) -> Outcome:
    f = metered(Bare("norm"), seeds, 8.0, batch=16)
    with suppress(Stop):
        Catalog().optimizer(optimizer, {}).optimizer.minimise(f)
    return f.finish()


@pytest.mark.parametrize("optimizer", ["sgd", "pso"])
def test_lanes_with_batch_normalisation_equal_serial_trials_scored_in_eval_mode(optimizer: str) -> None:
    together = trained([0, 1, 2], optimizer)
    for seed in range(3):
        own = trained([seed], optimizer).curves[0]
        for one, two in zip(together.curves[seed], own, strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
            assert one["valid_loss"] == pytest.approx(two["valid_loss"], rel=1e-4)


def test_one_lane_with_batch_normalisation_is_a_bare_loop() -> None:
    """To the bit: running statistics are the module's own, and scoring leaves them as they were."""
    problem = Bare("norm")
    f = metered(problem, [3], 1e3, batch=None)
    torch.manual_seed(3)
    net = problem.network()
    batch = problem.data().train
    ours, theirs = torch.optim.SGD(f.parameters(), lr=0.1), torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        ours.step(f.closure)
        theirs.zero_grad()
        problem.loss(net, batch).backward()
        theirs.step()
    net.eval()
    assert f.finish().curves[0][-1]["loss"] == problem.loss(net, batch).item()


def test_it_is_found_out_where_gradients_are_off_too() -> None:
    """A problem may be asked for the first time while it is scored, where nothing records gradients."""

    @dataclass(frozen=True)
    class Asked(Bare):
        kind: str = "plain"

    with torch.no_grad():
        assert Asked(loss_is="own").vmaps
