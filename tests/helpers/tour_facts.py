"""What a textbook says of each topic of the tour: asserted of the data that its page shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from optbench.tour.topics.batches import shaking
from optbench.tour.topics.brain import importance, saliency
from optbench.tour.topics.chain_rule import by_hand
from optbench.tour.topics.losses import lines
from optbench.tour.topics.overfitting import gap
from optbench.tour.topics.supervised import accuracies


def four_ways(runs: Any) -> None:
    """The proved optimum is the stated one, below every other method; the others improve on their start."""
    *searches, exact = [run.losses() for run in runs]
    assert exact[-1] == pytest.approx(runs[-1].problem.best.value, rel=1e-9)
    for losses in searches:
        assert exact[-1] <= min(losses) < losses[0]


def chain_rule(sample: Any) -> None:
    """The numbers that flow back are autograd's, and the two trainings are one."""
    ours = by_hand(sample)
    for name, parameter in zip("wbvc", sample["net"].parameters(), strict=True):
        assert ours[name] == pytest.approx(parameter.grad.flatten().tolist(), rel=1e-12)
    hand, auto = sample["runs"]
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(hand.points, auto.points, strict=True))
    assert hand.losses()[-1] < hand.losses()[0] / 3


def losses(fits: Any) -> None:
    """An outlier moves the line of the squared error, not that of the absolute one; far samples move the border of the
    squared error more than that of cross-entropy, which is right on all of them."""
    straight, borders = lines(fits)
    squared, absolute = (abs(straight[-1, i, 1] - straight[0, i, 1]) for i in range(2))
    assert squared > 0.3 and absolute < 0.1
    turned = [np.unwrap(np.arctan2(borders[[0, -1], i, 1], borders[[0, -1], i, 0])) for i in range(2)]
    assert abs(turned[0][1] - turned[0][0]) > 2 * abs(turned[1][1] - turned[1][0])
    x, y = fits[-1][3].problem.data().train
    weights = torch.as_tensor(borders[-1], dtype=x.dtype)
    wrong = [int(((x @ one[:2] + one[2] > 0).float() != y.flatten()).sum()) for one in weights]
    assert wrong[1] == 0 <= wrong[0]


def learning_rates(runs: Any) -> None:
    """Too small crawls, too large diverges, a schedule shakes less at the end, a warm-up begins with small steps."""
    small, right, large, scheduled, warmed = runs
    assert large.status == "diverged" or large.losses()[-1] > 10 * large.losses()[0]
    assert small.losses()[-1] > 1.5 * right.losses()[-1]
    assert shaking(scheduled) < shaking(right)
    begun = [next(k for k, cost in enumerate(run.costs) if cost > run.costs[-1] / 10) for run in (scheduled, warmed)]
    moved = [float((run.points[k] - run.points[0]).norm()) for run, k in zip((scheduled, warmed), begun, strict=True)]
    assert moved[1] < moved[0]


def batches(runs: Any) -> None:
    """The smaller the batch, the more the weights shake; the smallest is down before all samples are."""
    assert sorted((shaking(run) for run in runs), reverse=True) == [shaking(run) for run in runs]
    start, end = runs[-1].losses()[0], runs[-1].losses()[-1]

    def down(run: Any) -> float:
        return next(cost for cost, loss in zip(run.costs, run.losses(), strict=True) if loss < end + (start - end) / 4)

    assert down(runs[0]) < down(runs[-1])


def overfitting(runs: Any) -> None:
    """The test loss rises again without dropout; dropout narrows the gap between training and test."""
    assert runs[0].losses("test")[-1] > 1.2 * min(runs[0].losses("test"))
    assert gap(runs[1]) < 0.6 * gap(runs[0])
    assert runs[1].losses("test")[-1] < runs[0].losses("test")[-1]


def width(grid: Any) -> None:
    """The error falls with the width, whatever the depth; a few units in two layers are closer than as many in one."""
    widths = sorted({width for _, width in grid})
    for depth in (1, 2):
        errors = [grid[depth, width].losses()[-1] for width in widths]
        assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0] / 20
    assert grid[2, 4].losses()[-1] < grid[1, 4].losses()[-1]


def convolution(seen: Any) -> None:
    """A map is the filter's inner product with every patch; pooling keeps the largest of every 2 x 2."""
    net = seen["run"].network()
    patches = F.pad(seen["pictures"], (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    answers = torch.einsum("nhwij,cij->nchw", patches, seen["filters"][:, 0]) + net[1].bias[:, None, None]
    assert torch.allclose(seen["maps"], answers.clamp(min=0), atol=1e-5)
    maps = seen["maps"].numpy()
    assert np.array_equal(seen["pooled"].numpy(), maps.reshape(*maps.shape[:2], 4, 2, 4, 2).max((3, 5)))
    accuracy = seen["run"].problem.metrics(net, seen["run"].problem.data().test)["accuracy"]
    assert accuracy > 0.85 and torch.allclose(seen["chances"].sum(1), torch.ones(10))


def supervised(run: Any) -> None:
    """From guessing to nearly all right, on data that was never trained on."""
    right = accuracies(run, "test")
    assert right[0] < 0.75 and right[-1] > 0.92
    assert accuracies(run, "train")[-1] >= right[-1] - 0.03


def unsupervised(found: Any) -> None:
    """Two numbers rebuild better than the mean picture does, and neighbours in their plane are of one kind."""
    run, x = found["run"], found["pictures"]
    mean = run.problem.data().train[0].mean(0)
    assert run.losses("test")[-1] < 0.5 * float((x - mean).square().mean())
    away = torch.cdist(found["codes"][-1], found["codes"][-1]).fill_diagonal_(torch.inf)
    same = (found["labels"][away.argmin(1)] == found["labels"]).double().mean()
    assert same > 0.4  # by chance 0.1


def reinforcement(played: Any) -> None:
    """The pole stays up longer and the pendulum costs less than before, in episodes that are new."""
    before, after = (played["pole"][k][2].sum(0).mean() for k in (1, 2))
    assert after > 2.5 * before
    before, after = (-played["arm"][k][2].sum(0).mean() for k in (1, 2))
    assert after < 0.75 * before


def brain(found: Any) -> None:
    """Answers follow the severity, the network looks inside the head, and the markers are the known ones."""
    truth, answers = found["severity"].flatten().numpy(), found["answers"].flatten().numpy()
    assert np.corrcoef(truth, answers)[0, 1] > 0.7
    assert np.abs(answers - truth).mean() < 0.8 * np.abs(truth - truth.mean()).mean()
    looked = saliency(found, 0.8)
    middle = looked[8:24, 8:24].mean()
    assert middle > 3 * (looked.sum() - looked[8:24, 8:24].sum()) / (looked.size - 256)
    assert {name for name, _ in importance(found)[:4]} & {"tau", "p tau", "Ab 42"}


def sizes(rows: Any) -> None:
    """At the largest size the gradient is far below the searches, and its lead grew with the size."""
    ends = [{run.label: min(run.losses()) for run in row} for row in rows]
    for search in ("pso", "aco_r"):
        assert ends[-1]["adam"] < 0.1 * ends[-1][search]
        assert ends[-1][search] / ends[-1]["adam"] > ends[0][search] / ends[0]["adam"]
        assert ends[0][search] < ends[0]["random_search"]


def lanes(rates: Any) -> None:
    """Many trials as one program are more a second."""
    widths = sorted(lanes for device, lanes in rates if device == "cpu")
    assert rates["cpu", widths[-1]] > 1.5 * rates["cpu", widths[0]]


FACTS: dict[str, Callable[[Any], None]] = {
    fact.__name__: fact
    for fact in (
        four_ways,
        chain_rule,
        losses,
        learning_rates,
        batches,
        overfitting,
        width,
        convolution,
        supervised,
        unsupervised,
        reinforcement,
        brain,
        sizes,
        lanes,
    )
}
