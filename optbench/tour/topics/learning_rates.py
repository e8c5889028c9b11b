"""One learning rate too small, one right, one too large, one that falls, one that rises first."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.drawing import bowl, costs_said, growing
from optbench.tour.picture import BLUE, GREEN, OLIVE, ORANGE, PINK, Control, Layer, Panel, Picture, seen_at
from optbench.tour.topic import Topic

NAMES = ("too small: 0.005", "right: 0.1", "too large: 0.8", "scheduled: 0.1, cosine", "warmed up: 0.1, cosine")
COLOURS = (OLIVE, BLUE, ORANGE, GREEN, PINK)
PLACES = 100


def study(passes: float = 60.0) -> Any:
    """A straight line fitted with minibatches of 6, five ways to set the step."""
    from torch import nn

    import optbench
    from optbench.tour.samples import slope

    problem = optbench.problem(nn.Linear(1, 1), "mse", slope(), False, False, batch=6)
    rates = ["0.005", "0.1", "0.8", "0.1,schedule=cosine", "0.1,schedule=cosine,warmup=0.3"]
    runs = optbench.record(problem, [f"sgd[lr={rate}]" for rate in rates], passes)
    for run in runs:
        print(run.label, run.status, run.losses()[-1])
    return runs


def draw(runs: Any) -> Picture:
    """The five paths in the bowl, and their losses."""
    shown, seen = seen_at([run.costs for run in runs], PLACES)
    losses = [np.array(run.losses()) for run in runs]
    curves: list[Layer] = []
    for run, loss, at, name, colour in zip(runs, losses, seen, NAMES, COLOURS, strict=True):
        curves += growing(run.costs, np.minimum(loss, 1e9), at, colour, name)
    low = min(float(np.nanmin(loss)) for loss in losses)
    ends = ", ".join(f"{name.split(':')[0]} {loss[-1]:.3g}" for name, loss in zip(NAMES, losses, strict=True))
    says = "Five paths start at one point. One crawls, one flies out of the picture, three reach the bottom."
    return Picture(
        Control("cost", costs_said(shown)),
        [
            bowl(runs, seen, NAMES, COLOURS, says),
            Panel(
                "Training loss",
                curves,
                (0, shown[-1]),
                (low / 1.1, 100.0),
                "cost in passes",
                "mean squared error",
                "y",
                shape=0.9,
                says="The loss of the rate that is too large leaves the picture at the top.",
            ),
        ],
        f"Loss at the end: {ends}.",
    )


TOPIC = Topic(
    title="The learning rate",
    question="How large should a step be?",
    says=(
        "A rate that is too small wastes its budget, and one that is too large jumps over the valley, further each "
        "time.",
        "A right rate gets down quickly, but minibatches shake it around the bottom for ever.",
        "A schedule takes the rate down at the end, so the shaking dies out; a warm-up makes the first steps small.",
    ),
    exercise=(
        "The bowl has curvatures of about 0.2 and 4.5. Gradient descent on all samples diverges above 2 / 4.5 = 0.44. "
        "Find the largest rate in the code that does not diverge with batches of 6."
    ),
    study=study,
    draw=draw,
    quick={"passes": 30.0},
)
