"""Logistic regression on the Wisconsin breast-cancer data: the convex problem, its optimum certified."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from optbench.core.losses import BCE, Loss, logit_accuracy
from optbench.core.problem import Best, Problem, Splits
from optbench.problems.shared import classification
from optbench.problems.sklearn_tables import sklearn_table

PENALTY = 1e-3  # on half the squared weights: without it the classes separate and no optimum exists


class Logistic(nn.Linear):
    """(N, 30) -> (N, 2): the logit, and half the squared weights, since a loss may only call the network."""

    def __init__(self) -> None:
        super().__init__(30, 1)

    def forward(self, x: Tensor) -> Tensor:
        logit = super().forward(x)
        return torch.cat([logit, 0.5 * self.weight.square().sum().expand_as(logit)], dim=1)


def _penalised(outputs: Tensor, labels: Tensor) -> Tensor:
    logit, penalty = outputs.unbind(1)
    return BCE(logit, labels) + PENALTY * penalty.mean()


def _accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    return logit_accuracy(outputs[:, 0], labels)


@dataclass(frozen=True)
class LogisticCancer(Problem):
    """Ridge logistic regression (BCE) on breast cancer, 30 features; strongly convex, optimum certified."""

    track = "supervised"
    objective_loss = Loss("bce", _penalised, (("accuracy", _accuracy),))
    passes = 600.0
    start = 0.738673
    best = Best(0.058751044195, "optimum")

    def network(self) -> nn.Module:
        return Logistic()

    def data(self) -> Splits:
        return _data()


@cache
def _data() -> Splits:
    """398 / 86 / 85 tumours, (N, 30); 1 is benign."""
    return classification(*sklearn_table("breast_cancer"))
