"""Traced steps that a thread keeps for the next model of their kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optbench.core.problem import Problem
from optbench.engine import scorer
from optbench.engine.compile import kept
from optbench.engine.compile.kept import MAX_KEPT, shared
from optbench.engine.compile.trace import traced
from optbench.engine.data import splits
from optbench.engine.gradients import MIN_STEPS
from optbench.engine.model import BatchedModel
from optbench.problems.line import Line
from optbench.registry.catalog import Catalog

CATALOG = Catalog()


class Scaled(nn.Module):
    """A line, its outputs times a tensor of its own that the seed decides."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(1, 1), torch.rand(1) + 0.5

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) * self.scale
        return out


@dataclass(frozen=True)
class ScaledLine(Line):
    def network(self) -> nn.Module:
        return Scaled()


def gradients(problem: Problem, seeds: tuple[int, ...], *, eager: bool = False) -> tuple[BatchedModel, Tensor]:
    """A model, and its gradients on four samples of each lane's own."""
    data = splits(problem, "cpu").train
    model = BatchedModel(problem, seeds, "cpu", steps=MIN_STEPS, eager=eager)
    index = torch.arange(4 * len(seeds)).view(len(seeds), 4)
    return model, model.gradients(model.matrix, data, index)[1]


@pytest.fixture
def makings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The keys of steps that were made since, none having been kept before."""
    made: list[Any] = []
    kept._kept.steps.clear()

    def watched(key: Any, make: Any) -> Any:
        return shared(key, lambda: made.append(key) or make())  # type: ignore[func-returns-value]

    monkeypatch.setattr("optbench.engine.gradients.shared", watched)
    monkeypatch.setattr("optbench.engine.scorer.shared", watched)
    return made


def test_the_next_model_of_a_kind_needs_no_tracing_and_has_its_own_gradients(makings: list[Any]) -> None:
    problem = CATALOG.problem("mlp_iris")
    found = [gradients(problem, seeds)[1] for seeds in ((0, 1), (2, 3))]
    assert len(makings) == 1
    for seeds, gradient in zip(((0, 1), (2, 3)), found, strict=True):
        torch.testing.assert_close(gradient, gradients(problem, seeds, eager=True)[1])
    gradients(problem, (0, 1, 2))  # another shape
    gradients(CATALOG.problem("mlp_wine"), (0, 1))  # another problem
    assert len(makings) == 3


def test_a_step_with_tensors_of_its_model_is_no_other_models(makings: list[Any]) -> None:
    for seeds in ((0, 1), (2, 3)):
        torch.testing.assert_close(
            gradients(ScaledLine(), seeds)[1], gradients(ScaledLine(), seeds, eager=True)[1], rtol=1e-6, atol=0
        )
    assert len(makings) == 2


def test_every_thread_has_steps_of_its_own(makings: list[Any]) -> None:
    """Two at once would write into the same buffers."""
    problem = CATALOG.problem("mlp_iris")
    gradients(problem, (0, 1))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(gradients, problem, (0, 1)).result()
    assert len(makings) == 2


def test_scores_of_the_next_model_are_traced_no_more(makings: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "MIN_SCORED", 0)
    problem = CATALOG.problem("mlp_iris")
    data = splits(problem, "cpu")
    models = [BatchedModel(problem, seeds, "cpu", steps=MIN_STEPS) for seeds in ((0, 1), (2, 3))]
    first = [[model.score(model.matrix, data) for _ in range(2)] for model in models]
    assert [key[0] for key in makings] == ["scores"]
    plain = [BatchedModel(problem, seeds, "cpu", eager=True) for seeds in ((0, 1), (2, 3))]
    for scores, model in zip(first, plain, strict=True):
        for a, b in zip(scores[-1], model.score(model.matrix, data), strict=True):
            assert a.keys() == b.keys() and a == pytest.approx(b, rel=1e-6)


def test_the_latest_steps_are_kept() -> None:
    kept._kept.steps.clear()
    step = traced(lambda x: x * 2, torch.ones(3))
    for key in range(MAX_KEPT):
        shared(key, lambda: step)
    shared(0, lambda: step)  # used again
    shared("new", lambda: step)
    assert [*kept._kept.steps] == [*range(2, MAX_KEPT), 0, "new"]
    kept._kept.steps.clear()
