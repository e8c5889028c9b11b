"""Adam at the default budget beats the trivial predictor, and reaches levels known from elsewhere."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from optbench.problems import PROBLEMS
from torch import Tensor, nn

from optbench.problem import Problem, batches, fresh

SHARE = 3  # a step costs at most a forward and two backwards: passes are counted on the careful side


def build(name: str) -> Problem:
    entry = PROBLEMS[name]
    module, attribute = entry.path.split(":")
    return getattr(importlib.import_module(module), attribute)(**entry.settings)


def train(problem: Problem, lr: float, enough: Callable[[nn.Module], bool], seed: int = 0) -> nn.Module:
    """A plain Adam loop within the default budget; ends early, at an epoch's end, when the network is good enough."""
    data = problem.data().train
    samples = len(data[0])
    size = problem.batch or samples
    steps, epoch = int(problem.passes * samples / size / SHARE), max(1, samples // size)
    net = fresh(problem, seed)[0]
    adam = torch.optim.Adam(net.parameters(), lr=lr)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step, index in zip(range(1, steps + 1), batches(samples, size, seed), strict=False):
            adam.zero_grad()
            problem.loss(net, data if size == samples else tuple(t[index] for t in data)).backward()
            adam.step()
            if step % epoch == 0 and enough(net.eval()):
                break
            net.train()
    return net.eval()


def trivial(problem: Problem) -> float:
    """The test loss of the best constant prediction learnt on train: mean, median, or class frequencies."""
    (_, y), test = problem.data().train[:2], problem.data().test
    assert test is not None
    target = test[1]
    match problem.loss_name:
        case "mse":
            return (target - y.mean(0)).square().mean().item()
        case "l1":
            return (target - y.median(0).values).abs().mean().item()
        case "bce":
            share = y.double().mean()
            return -torch.where(target > 0, share.log(), (1 - share).log()).mean().item()
        case _:
            shares = torch.bincount(y.flatten()).double() / y.numel()
            return -shares[target.flatten()].log().mean().item()


def majority(problem: Problem) -> float:
    """The test accuracy of always answering the most frequent class of train."""
    (_, y), test = problem.data().train[:2], problem.data().test
    assert test is not None
    return (test[1] == y.mode().values).double().mean().item()


class Level(NamedTuple):
    lr: float
    metric: str | None = None
    least: float = 0.0  # of the metric, on test
    source: str = ""


LEVELS = {
    "line_mse": Level(0.01),
    "line_l1": Level(0.01),
    "logistic_cancer": Level(0.05, "accuracy", 0.95, "scikit-learn's logistic regression on this split"),
    "mlp_digits": Level(0.01, "accuracy", 0.92, "majority is 0.10"),
    "cnn_digits": Level(0.01, "accuracy", 0.85, "majority is 0.10"),
}


@pytest.mark.parametrize("name", LEVELS)
def test_adam_beats_the_trivial_predictor(name: str) -> None:
    problem, level = build(name), LEVELS[name]
    test = problem.data().test
    assert test is not None

    def score(net: nn.Module) -> tuple[float, Tensor]:
        with torch.no_grad():
            loss = problem.loss(net, test).item()
            return loss, problem.metrics(net, test)[level.metric] if level.metric else torch.tensor(0.0)

    bar = trivial(problem)
    if level.metric == "accuracy":
        assert level.least > majority(problem)

    def enough(net: nn.Module) -> bool:
        loss, metric = score(net)
        return loss < 0.9 * bar and metric >= level.least

    loss, metric = score(train(problem, level.lr, enough))
    assert loss < 0.9 * bar
    assert metric >= level.least, level.source
