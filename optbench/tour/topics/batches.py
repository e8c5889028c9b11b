"""The noise of minibatches."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.drawing import bowl, costs_said, growing
from optbench.tour.picture import BLUE, GREEN, INK, ORANGE, Control, Layer, Panel, Picture, seen_at
from optbench.tour.topic import Topic

COLOURS = (ORANGE, GREEN, BLUE, INK)
PLACES = 100


def study(passes: float = 300.0, sizes: tuple[str, ...] = ("2", "6", "20", "full")) -> Any:
    """The same line, the same rate, four sizes of a minibatch."""
    from torch import nn

    import optbench
    from optbench.tour.samples import slope

    problem = optbench.problem(nn.Linear(1, 1), "mse", slope(), False, False)
    runs = optbench.record(problem, [f"sgd[lr=0.2,batch={size}]" for size in sizes], passes)
    for run in runs:
        print(run.label, run.costs[-1], run.losses()[-1])
    return runs


def shaking(run: Any) -> float:
    """How far a run strays from its own mean over the last third of its budget: a standard deviation."""
    late = np.array([p.numpy() for p, cost in zip(run.points, run.costs, strict=True) if cost > run.costs[-1] * 2 / 3])
    return float(late.std(axis=0).max())


def draw(runs: Any) -> Picture:
    """The four paths, and their losses above the lowest one there is."""
    shown, seen = seen_at([run.costs for run in runs], PLACES)
    names = [f"batch of {run.label.split('batch=')[1].split(',')[0].rstrip(']')}" for run in runs]
    names = [name.replace("batch of full", "all 60 samples") for name in names]
    losses = [np.array(run.losses()) for run in runs]
    x, y = runs[0].problem.data().train
    design = np.column_stack([x.numpy(), np.ones(len(x))])
    best = float(np.linalg.lstsq(design, y.numpy()[:, 0], rcond=None)[1][0] / len(x))
    curves: list[Layer] = []
    for run, loss, at, name, colour in zip(runs, losses, seen, names, COLOURS, strict=True):
        curves += growing(run.costs, np.maximum(loss - best, 1e-6), at, colour, name)
    told = ", ".join(f"{name} {shaking(run):.3f}" for name, run in zip(names, runs, strict=True))
    says = "The smaller the batch, the more the path shakes. The path of all samples is smooth."
    return Picture(
        Control("cost", costs_said(shown)),
        [
            bowl(runs, seen, names, COLOURS, says),
            Panel(
                "Loss above the best line",
                curves,
                (0, shown[-1]),
                (1e-5, 10.0),
                "cost in passes",
                "loss above the lowest",
                "y",
                shape=0.9,
                says="Small batches fall first, and then stay above the others.",
            ),
        ],
        f"Standard deviation of the weights over the last third: {told}.",
    )


TOPIC = Topic(
    title="Batch size and noise",
    question="Why not use all samples for every step?",
    says=(
        "One pass over 60 samples buys one step with all of them, or thirty steps with two of them each.",
        "Small batches therefore come down first, but each of their steps points only roughly the right way.",
        "At the bottom that noise does not end: its size falls with the batch, and with the learning rate.",
    ),
    exercise=(
        "Divide the rate by ten for the batch of 2. Is it still the first to come down, and how far does it shake "
        "at the end?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 240.0},
)
