"""Supervised learning: a border between two classes, as it is learned."""

from __future__ import annotations

from typing import Any

import torch

from optbench.tour.drawing import costs_said, growing
from optbench.tour.picture import BLUE, INK, ORANGE, Control, Frames, Panel, Picture, dots, image, seen_at
from optbench.tour.topic import Topic

PLACES, SIDE = 60, 44
PALETTE = ("#7fb3d9", "#ffffff", "#eeaa7d")
WINDOW = (-2.1, 2.1, -1.6, 1.6)


def study(passes: float = 300.0) -> Any:
    """Two moons, a network of two hidden layers, Adam."""
    from torch import nn

    import optbench
    from optbench.tour.samples import two_moons

    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))
    problem = optbench.problem(net, "cross-entropy", two_moons(200), False, two_moons(400, "test"), batch=50)
    run = optbench.record(problem, "adam[lr=0.01]", passes)[0]
    print(run.losses("train")[-1], run.losses("test")[-1])
    return run


def accuracies(run: Any, part: str) -> list[float]:
    """Share of right answers on a part of the data, at every point of the run."""
    x, y = getattr(run.problem.data(), part)
    return [float((run.network(k)(x).argmax(1) == y).double().mean()) for k in range(len(run.costs))]


def draw(run: Any) -> Picture:
    """How sure the network is over the plane, and how often it is right."""
    shown, (seen,) = seen_at([run.costs], PLACES)
    xs, ys = torch.linspace(*WINDOW[:2], SIDE), torch.linspace(WINDOW[3], WINDOW[2], SIDE)
    plane = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
    sure = {k: run.network(k)(plane).softmax(1)[:, 1].detach().reshape(SIDE, SIDE) for k in sorted(set(seen))}
    x, y = run.problem.data().train
    layers = [image(Frames([sure[k] for k in seen]), WINDOW, (0, 1), PALETTE, smooth=True)]
    for label, colour in ((0, BLUE), (1, ORANGE)):
        layers.append(dots(x[y == label, 0], x[y == label, 1], colour, f"class {label}", 3.6, "#ffffff"))
    train, test = accuracies(run, "train"), accuracies(run, "test")
    curves = [
        *growing(run.costs, [100 * a for a in train], seen, INK, "training data", (4, 4)),
        *growing(run.costs, [100 * a for a in test], seen, BLUE, "new data"),
    ]
    return Picture(
        Control("cost", costs_said(shown)),
        [
            Panel(
                "How sure the network is, and of what",
                layers,
                WINDOW[:2],
                WINDOW[2:],
                "first input",
                "second input",
                shape=0.76,
                says="A straight border between two moons bends until it separates them.",
            ),
            Panel(
                "Right answers",
                curves,
                (0, shown[-1]),
                (min(45.0, 100 * min(test)), 101.0),
                "cost in passes",
                "per cent",
                shape=0.76,
                says="Both curves rise from about one half to nearly all.",
            ),
        ],
        f"Right answers on new data: {100 * test[0]:.0f} % before training, {100 * test[-1]:.1f} % after it.",
    )


TOPIC = Topic(
    title="Supervised learning",
    question="How does a network learn to tell two kinds apart from examples?",
    says=(
        "Every example comes with its right answer, and the loss says how far the network's answer is from it.",
        "White is where the network cannot decide: that border is nearly straight at first, and bends as the loss "
        "falls.",
        "What counts is the curve of new data, which the network has never been trained on.",
    ),
    exercise="Remove both nn.Tanh() layers. Why is the border now a straight line, however long you train?",
    study=study,
    draw=draw,
    quick={"passes": 150.0},
)
