"""Many epochs on few samples, with and without dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from optbench.tour.drawing import costs_said, growing
from optbench.tour.picture import BLUE, INK, ORANGE, Control, Frames, Panel, Picture, dots, line, seen_at
from optbench.tour.topic import Topic

PLACES, GRID = 80, 121


def study(passes: float = 3600.0, samples: int = 24) -> Any:
    """A network of 100 units on a few noisy samples of a sine; half of the units silenced in the second run."""
    from torch import nn

    import optbench
    from optbench.tour.samples import noisy_sine

    runs = []
    for share in (0.0, 0.5):
        first, second = [nn.ReLU(), nn.Dropout(share)], [nn.ReLU(), nn.Dropout(share)]
        net = nn.Sequential(nn.Linear(1, 100), *first, nn.Linear(100, 100), *second, nn.Linear(100, 1))
        problem = optbench.problem(net, "mse", noisy_sine(samples), False, noisy_sine(400, "test"))
        runs += optbench.record(problem, "adam[lr=0.005]", passes)
    return runs


def gap(run: Any) -> float:
    """Test loss less training loss at the end."""
    return float(run.losses("test")[-1] - run.losses()[-1])


def draw(runs: Any) -> Picture:
    """The two functions with the data, and the losses on both parts of the data against epochs."""
    names, colours = ("without dropout", "dropout 0.5"), (ORANGE, BLUE)
    x, y = runs[0].problem.data().train
    at = torch.linspace(-1, 1, GRID)[:, None]
    shown, seen = seen_at([run.costs for run in runs], PLACES)
    functions = [
        line(at.flatten(), torch.sin(torch.pi * at).flatten(), "#aab2ba", "the sine behind the data", 3, (2, 4)),
        dots(x.flatten(), y.flatten(), INK, "training data", 4.5),
    ]
    curves = []
    for run, place, name, colour in zip(runs, seen, names, colours, strict=True):
        drawn = {k: run.network(k)(at).detach().flatten() for k in sorted(set(place))}
        functions.insert(1, line(at.flatten(), Frames([drawn[k] for k in place]), colour, name, 2.6))
        epochs = np.array(run.costs) / 3
        curves += growing(epochs, run.losses(), place, colour, f"training loss, {name}", (3, 3))
        curves += growing(epochs, run.losses("test"), place, colour, f"test loss, {name}")
    low = min(min(run.losses()) for run in runs)
    lows = [min(run.losses("test")) for run in runs]
    test = [run.losses("test")[-1] for run in runs]
    return Picture(
        Control(
            "epochs", [f"{cost / 3:,.0f} epochs ({told})" for cost, told in zip(shown, costs_said(shown), strict=True)]
        ),
        [
            Panel(
                "What the network computes",
                functions,
                (-1, 1),
                (-1.9, 1.9),
                "x",
                "y",
                says="Without dropout the curve goes through the samples and swings between them. With dropout it "
                "is smoother.",
            ),
            Panel(
                "Loss on seen and on new data",
                curves,
                (0, shown[-1] / 3),
                (low / 1.5, 1.2),
                "epochs",
                "mean squared error",
                "y",
                says="The training loss without dropout falls to zero while its test loss rises again.",
            ),
        ],
        f"Test loss without dropout: {lows[0]:.3f} at its lowest, {test[0]:.3f} at the end. The gap between test "
        f"and training "
        f"loss is {gap(runs[0]):.3f} without dropout and {gap(runs[1]):.3f} with it.",
    )


TOPIC = Topic(
    title="Epochs, overfitting and dropout",
    question="Can a network learn its lesson too well?",
    says=(
        "One epoch shows every sample once; here a gradient step on all samples is an epoch and costs three passes.",
        "At first both losses fall, and then the network begins to learn the noise: the training loss falls on, the "
        "loss on "
        "new data rises.",
        "Dropout silences half of the units at every step, so no unit can rely on another: the gap becomes narrower.",
    ),
    exercise="Raise samples from 24 to 200. How many epochs does it take now until the test loss rises, and why?",
    study=study,
    draw=draw,
    quick={"passes": 1800.0},
)
