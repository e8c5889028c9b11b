"""A problem's loss is one declaration: name, function and metrics; what is not stated is measured."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from optbench.core.losses import BCE, CROSS_ENTROPY, L1, MSE, Loss, r2
from optbench.core.problem import Best, Known, Problem, Splits, fresh


@dataclass(frozen=True)
class Line(Problem):
    width: int = 1

    objective_loss = MSE.with_metrics(r2=r2)
    bound = 0.0

    @property
    def known(self) -> Known | None:
        return Known(7.5, 0.25) if self.width == 1 else None

    def network(self) -> nn.Module:
        return nn.Linear(2, self.width)

    def data(self) -> Splits:
        x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
        return Splits((x, x.sum(1, keepdim=True).expand(-1, self.width)))


def test_name_loss_and_metrics_come_from_the_declaration() -> None:
    problem = Line()
    net, batch = fresh(problem, 0)[0], problem.data().train
    assert problem.loss_name == "mse" and torch.equal(problem.loss(net, batch), F.mse_loss(net(batch[0]), batch[1]))
    assert problem.metrics(net, batch).keys() == {"r2"}
    assert float(problem.metrics(lambda x: x.sum(1, keepdim=True), batch)["r2"]) == pytest.approx(1)


def test_start_and_best_are_stated_for_some_settings_and_measured_for_the_others() -> None:
    assert (Line().start, Line().best) == (7.5, Best(0.25, "best known"))
    wide = Line(width=3)
    losses = sorted(wide.loss(fresh(wide, seed)[0], wide.data().train).item() for seed in range(9))
    assert wide.start == losses[4] and wide.best == Best(0.0, "bound")


def test_a_class_may_state_its_name_and_write_its_loss() -> None:
    class Own(Line):
        loss_name = "huber"  # type: ignore[assignment]  # as plugins written before there was `objective_loss`

    assert Own().loss_name == "huber"

    class Nothing(Problem):
        pass

    for call in (lambda: Nothing().loss_name, lambda: Nothing().data(), lambda: Nothing().loss(nn.Identity(), ())):
        with pytest.raises(NotImplementedError, match="Nothing"):
            call()


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "expected"),
    [
        (MSE, [[1.0], [3.0]], [[0.0], [0.0]], 5.0),
        (L1, [[1.0], [3.0]], [[0.0], [0.0]], 2.0),
        (BCE, [[0.0], [0.0]], [0, 1], 0.6931472),  # logits (N, 1), labels (N,)
        (BCE, [[0.0], [0.0]], [[0.0], [1.0]], 0.6931472),
        (CROSS_ENTROPY, [[0.0, 0.0], [0.0, 0.0]], [0, 1], 0.6931472),
    ],
)
def test_values_by_hand(loss: Loss, outputs: list[list[float]], targets: list[float], expected: float) -> None:
    assert float(loss(torch.tensor(outputs), torch.tensor(targets))) == pytest.approx(expected)
