"""What the loss makes of an outlier, and of samples far from the border of their class."""

from __future__ import annotations

from typing import Any

import numpy as np

from optbench.tour.picture import AMBER, BLUE, ORANGE, Control, Frames, Panel, Picture, dots, line
from optbench.tour.topic import Topic

MOST = 6.0  # how far points are moved


def study(passes: float = 300.0, places: int = 13) -> Any:
    """Four fits at every place of the moved points."""
    from torch import nn

    import optbench
    from optbench.tour.samples import two_classes, with_outlier

    cases = [("mse", 1, with_outlier), ("l1", 1, with_outlier), ("mse", 2, two_classes), ("bce", 2, two_classes)]
    fits = [[] for _ in range(places)]
    for k, row in enumerate(fits):
        for loss, inputs, data in cases:
            problem = optbench.problem(nn.Linear(inputs, 1), loss, data(6.0 * k / (places - 1)), False, False)
            row += optbench.record(problem, "adam[lr=0.1,schedule=cosine,batch=full]", passes)
    return fits


def lines(fits: Any) -> tuple[np.ndarray, np.ndarray]:
    """(places, 2, 2) intercept and slope of the lines under MSE and L1; (places, 2, 3) weights and bias of the borders,
    where the output of MSE is 1/2 and the logit of cross-entropy is 0.
    """
    found = [[run.points[-1].double().numpy() for run in row] for row in fits]
    straight = np.array([[(bias, weight) for weight, bias in row[:2]] for row in found])
    borders = np.array([[row[2] - [0, 0, 0.5], row[3]] for row in found])
    return straight, borders


def draw(fits: Any) -> Picture:
    """The data with the fitted lines, and two classes with the borders between them."""
    straight, borders = lines(fits)
    moved = [row[0].problem.data().train for row in fits]
    classes = [row[2].problem.data().train for row in fits]
    ends = np.array([-1.1, 1.1])
    left = [
        dots(Frames([x.flatten() for x, _ in moved]), Frames([y.flatten() for _, y in moved]), "#7d8791", "data", 4),
        dots(Frames([x[-3] for x, _ in moved]), Frames([y[-3] for _, y in moved]), AMBER, "the outlier", 7, "#222222"),
    ]
    for i, (name, colour) in enumerate((("squared error", ORANGE), ("absolute error", BLUE))):
        left.append(line(ends, Frames([a + b * ends for a, b in straight[:, i]]), colour, name, 3))
    right = []
    for label, colour in ((0, "#9aa3ad"), (1, AMBER)):
        parts = [x[y.flatten() == label] for x, y in classes]
        right.append(
            dots(Frames([x[:, 0] for x in parts]), Frames([x[:, 1] for x in parts]), colour, f"class {label}", 4.5)
        )
    high = np.array([-6.0, 3.0])
    for i, (name, colour) in enumerate((("squared error on labels", ORANGE), ("cross-entropy", BLUE))):
        across = [-(w[1] * high + w[2]) / w[0] for w in borders[:, i]]
        right.append(line(Frames(across), high, colour, f"border: {name}", 3))
    return Picture(
        Control(
            "points moved by", [f"{MOST * k / (len(fits) - 1):.1f}" for k in range(len(fits))], False, len(fits) - 1
        ),
        [
            Panel(
                "A line and an outlier",
                left,
                (-1.1, 1.1),
                (-6.2, 1.5),
                "x",
                "y",
                says="The line of the squared error tilts towards the outlier, the other one stays.",
            ),
            Panel(
                "A border between classes",
                right,
                (-3, 9),
                (-6, 3),
                "first input",
                "second input",
                says="Easy points far from the border pull the border of the squared error, not that of cross-entropy.",
            ),
        ],
        f"Pulling one of 21 points changes the slope from {straight[0, 0, 1]:.2f} to {straight[-1, 0, 1]:.2f} under "
        f"the squared "
        f"error, and from {straight[0, 1, 1]:.2f} to {straight[-1, 1, 1]:.2f} under the absolute error.",
    )


TOPIC = Topic(
    title="What a loss cares about",
    question="Whom does the network try to please: the many, or the far away?",
    says=(
        "The squared error grows with the square of a miss, so a single outlier pulls the whole line.",
        "The absolute error pulls with the same force however far the outlier is, so the line stays with the many.",
        "For classes, the squared error punishes even answers that are too right; cross-entropy forgets samples "
        "that are "
        "safely on their side.",
    ),
    exercise=(
        "Replace 'l1' by nn.HuberLoss() in the code. Does the Huber loss behave like the squared or like the absolute "
        "error when the outlier is far away?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 150.0, "places": 3},
)
