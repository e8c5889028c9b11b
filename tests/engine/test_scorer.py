"""Scores: one forward for loss and metrics, blocks of lanes, the traced form; the numbers are those of plain calls."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.problem import Batch, Net, Problem, Splits
from optbench.engine import scorer as module
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog


@torch.no_grad()
def plainly(problem: Problem, model: BatchedModel) -> list[dict[str, float]]:
    """What the points of a model score, network by network, loss and metrics each by a forward of its own."""
    found = []
    for row in model.matrix:
        net = problem.network().eval()
        nn.utils.vector_to_parameters(row.clone(), net.parameters())
        scores: dict[str, float] = {}
        for name, part in splits(problem, "cpu")._asdict().items():
            scores["loss" if name == "train" else f"{name}_loss"] = float(problem.loss(net, part))
            scores |= {f"{name}_{metric}": float(value) for metric, value in problem.metrics(net, part).items()}
        found.append(scores)
    return found


@pytest.mark.parametrize("name", ["mlp_digits", "logistic_cancer", "cnn_digits"])
@pytest.mark.parametrize("lanes", [1, 5])
def test_scores_are_those_of_plain_calls(name: str, lanes: int) -> None:
    problem = Catalog().problem(name)
    model = BatchedModel(problem, tuple(range(lanes)), "cpu")
    found = model.score(model.matrix, splits(problem, "cpu"))
    for have, want in zip(found, plainly(problem, model), strict=True):
        assert have == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("name", ["mlp_digits", "cnn_digits"])
def test_a_traced_score_is_the_untraced_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven lanes in blocks of three, so that the last is filled up, at points that move; the same to the last bit."""
    problem = Catalog().problem(name)
    data = splits(problem, "cpu")
    monkeypatch.setattr(module, "MIN_SCORED", 0)
    found = []
    for steps in (0, 10_000):  # too few to trace, and enough
        model = BatchedModel(problem, tuple(range(7)), "cpu", steps=steps)
        monkeypatch.setattr(module, "MAX_SCORED", {"cpu": 2**62})
        model.score(model.matrix[:1].expand(2, -1), data)
        widest = model._scorer._widest
        monkeypatch.setattr(module, "MAX_SCORED", {"cpu": 3 * widest})
        model = BatchedModel(problem, tuple(range(7)), "cpu", steps=steps)
        found.append([model.score(model.matrix * scale, data) for scale in (1.0, 0.5, -1.0)])
        assert (model._scorer._compiled is not None) == bool(steps)
        assert model._scorer._size == 3
    assert found[0] == found[1]


class Calls(nn.Module):
    """A layer that counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(2)), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x @ self.weight


class Counted(Problem):
    track, dtype, stochastic, vmaps = "supervised", torch.float32, False, True

    def network(self) -> nn.Module:
        return Calls()

    def data(self) -> Splits:
        return Splits((torch.ones(4, 2), torch.zeros(4)), None, (torch.ones(3, 2), torch.zeros(3)))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return (net(batch[0]) - batch[1]).square().mean()

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        return {"mean": net(batch[0]).mean(), "of_doubled": net(2 * batch[0]).mean()}


def test_loss_and_metrics_share_a_forward() -> None:
    problem = Counted()
    net: Any = problem.network()
    found = module.Scorer(problem, net, lambda *_: net)(torch.ones(1, 2), problem.data(), problem.network(), {})
    assert found == [
        {"loss": 4.0, "train_mean": 2.0, "train_of_doubled": 4.0, "test_loss": 4.0, "test_mean": 2.0}
        | {"test_of_doubled": 4.0}
    ]
    assert net.calls == 4  # a split: one for loss and mean, one for other inputs


class Spoiled(Counted):
    """Its loss changes the outputs in place."""

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return net(batch[0]).zero_().mean()


def test_outputs_that_the_loss_has_changed_are_computed_again() -> None:
    problem = Spoiled()
    net: Any = problem.network()
    found = module.Scorer(problem, net, lambda *_: net)(torch.ones(1, 2), problem.data(), problem.network(), {})
    assert (found[0]["loss"], found[0]["train_mean"]) == (0.0, 2.0)


class Drawing(Counted):
    """A network that draws in eval mode too: its metrics see other numbers than its loss."""

    stochastic, vmaps = True, False

    def network(self) -> nn.Module:
        class Noisy(Calls):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x) + torch.randn(len(x))

        return Noisy()


def test_a_network_that_draws_is_called_for_each() -> None:
    problem = Drawing()
    net: Any = problem.network()
    scorer = module.Scorer(problem, net, lambda *_: net)
    found = scorer(torch.ones(1, 2), problem.data(), problem.network(), {})[0]
    torch.manual_seed(0)
    first, second = torch.randn(4), torch.randn(4)
    assert found["loss"] == pytest.approx(float((2 + first).square().mean()))
    assert found["train_mean"] == pytest.approx(float((2 + second).mean()))
