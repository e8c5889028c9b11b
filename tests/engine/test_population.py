"""A population's losses equal the plain network's, whatever the blocks, the layout and the tracing do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Net, Problem, Splits
from optbench.engine import blocks, population
from optbench.engine.model import BatchedModel
from optbench.engine.population import MIN_BLOCKS, Population
from optbench.engine.sample_layout import columns


class Residual(nn.Module):
    """Reads its pre-activations again after the activation: an activation in place would spoil them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        return self.last(F.relu(z) + z)


def mlp(*between: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), *(make() for make in between), nn.Linear(5, 3))


def cnn() -> nn.Module:
    shape = nn.Unflatten(1, (1, 2, 3))
    return nn.Sequential(shape, nn.Conv2d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: mlp(nn.ReLU),
    "relu in place": lambda: mlp(lambda: nn.ReLU(inplace=True)),
    "tanh": lambda: mlp(nn.Tanh),
    "sigmoid": lambda: mlp(nn.Sigmoid, nn.Sigmoid),
    "norm": lambda: mlp(lambda: nn.LayerNorm(5), nn.GELU),
    "residual": Residual,
    "no bias": lambda: nn.Linear(6, 3, bias=False),
    "conv": cnn,
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "smoothed": lambda scores, y: F.cross_entropy(scores, y, label_smoothing=0.1),
    "summed": lambda scores, y: F.cross_entropy(scores, y, reduction="sum"),
    "mse": lambda scores, y: F.mse_loss(scores, torch.eye(3, dtype=scores.dtype)[y]),
}


@dataclass(frozen=True)
class Made(Problem):
    """Some network and some loss on random samples."""

    make: Callable[[], nn.Module]
    score: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    stochastic: bool = False  # type: ignore[misc]  # a setting here, so that one class serves every case
    ignored: int = 0  # of the targets stand for "ignored"

    dtype = torch.float64

    def network(self) -> nn.Module:
        return self.make()

    def data(self) -> Splits:
        stream = torch.Generator().manual_seed(0)
        x = torch.randn(11, 6, generator=stream, dtype=torch.float64)
        y = torch.randint(0, 3, (11,), generator=stream)
        y[: self.ignored] = -100
        return Splits((x, y))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return self.score(net(batch[0]), batch[1])


def points(model: BatchedModel, count: int) -> Tensor:
    return torch.randn(count, model.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_losses_equal_the_plain_network_traced_or_not(network: str, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CACHED", 150)  # blocks of a few candidates, the last one smaller
    monkeypatch.setattr(population, "MIN_BLOCKS", 2)
    problem = Made(NETWORKS[network], LOSSES[loss])
    model, batch = BatchedModel(problem, (0,), "cpu"), problem.data().train
    x = points(model, 7)
    plain = torch.stack([model.plain(row, batch).detach() for row in x])
    first = model.losses(x, batch)
    assert torch.allclose(first, plain, rtol=1e-12)
    for _ in range(3):
        assert torch.equal(model.losses(x, batch), first)  # the trace runs the same operations
    assert model._population._compiled
    assert all(block != model._population._block for block in model._population._compiled.values())


def test_a_traced_block_takes_any_batch_of_its_shape() -> None:
    problem = Made(NETWORKS["relu"])
    model, (x, y) = BatchedModel(problem, (0,), "cpu"), problem.data().train
    candidates = points(model, 3)
    for _ in range(MIN_BLOCKS + 1):
        model.losses(candidates, (x, y))
    other = (x.flip(0) + 1, (y + 1) % 3)
    plain = torch.stack([model.plain(row, other).detach() for row in candidates])
    assert torch.allclose(model.losses(candidates, other), plain, rtol=1e-12)


def test_targets_that_are_to_be_ignored_are_ignored() -> None:
    problem = Made(NETWORKS["relu"], ignored=4)
    model, (x, y) = BatchedModel(problem, (0,), "cpu"), problem.data().train
    plain = torch.stack([model.plain(row, (x, y)).detach() for row in points(model, 4)])
    assert torch.allclose(model.losses(points(model, 4), (x, y)), plain, rtol=1e-12)


def test_every_candidate_of_a_stochastic_network_has_the_same_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CACHED", 120)
    problem = Made(lambda: mlp(lambda: nn.Dropout(0.5)), stochastic=True)
    model, batch = BatchedModel(problem, (0,), "cpu"), problem.data().train
    same = points(model, 1).expand(9, -1)
    with torch.random.fork_rng():
        found = model.losses(same, batch)
        assert torch.allclose(found, found[0].expand(9), rtol=1e-12)
        assert not torch.allclose(model.losses(same, batch), found)  # the next step has another mask


def test_a_network_that_looks_at_its_inputs_is_evaluated_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "MIN_BLOCKS", 1)

    def sign(row: Tensor, batch: Batch) -> Tensor:
        return row.sum() if batch[0].sum() > 0 else -row.sum()

    several, x = Population(sign), torch.ones(3, 2)
    for value in (1.0, -1.0, 1.0):
        assert several.losses(x, (torch.tensor([[value]]),)).tolist() == [2 * value] * 3


def test_columns_are_transposed_tables_over_ones() -> None:
    x = torch.randn(5, 2)
    (tall,) = columns((x, torch.arange(5)))
    assert torch.equal(tall[:2], x.mT) and torch.equal(tall[2], torch.ones(5))
