"""Universal approximation: error against width and depth, with the functions drawn."""

from __future__ import annotations

from typing import Any

from optbench.tour.picture import BLUE, ORANGE, Control, Frames, Panel, Picture, dots, line
from optbench.tour.topic import Topic


def study(passes: float = 3000.0, widths: tuple[int, ...] = (1, 2, 4, 8, 16)) -> Any:
    """Networks of one and two hidden layers, each trained twice by L-BFGS; the better one counts."""
    import optbench

    grid = {}
    for depth in (1, 2):
        for width in widths:
            spec = f"universal[width={width},depth={depth}]"
            runs = [optbench.record(spec, "scipy_lbfgsb", passes, seed=seed)[0] for seed in range(2)]
            grid[depth, width] = min(runs, key=lambda run: run.losses()[-1])
            print(spec, grid[depth, width].losses()[-1])
    return grid


def draw(grid: Any) -> Picture:
    """The functions of one width, and the errors of all."""
    widths = sorted({width for _, width in grid})
    x, y = grid[1, widths[0]].problem.data().train
    every = slice(None, None, 2)
    functions = [line(x.flatten()[every], y.flatten()[every], "#aab2ba", "the function to follow", 6)]
    errors = []
    for depth, colour in ((1, ORANGE), (2, BLUE)):
        runs = [grid[depth, width] for width in widths]
        name = "one hidden layer" if depth == 1 else "two hidden layers"
        drawn = [run.network()(x).detach().flatten()[every] for run in runs]
        functions.append(line(x.flatten()[every], Frames(drawn), colour, name))
        losses = [run.losses()[-1] for run in runs]
        errors += [line(widths, losses, colour, name), dots(widths, losses, colour, size=4)]
        errors.append(
            dots(Frames([[w] for w in widths]), Frames([[loss] for loss in losses]), colour, size=8, edge="#222222")
        )
    ends = {depth: [grid[depth, width].losses()[-1] for width in (widths[0], widths[-1])] for depth in (1, 2)}
    return Picture(
        Control("units in a layer", [f"{w} unit{'s' * (w > 1)}" for w in widths], False, len(widths) // 2, seconds=7),
        [
            Panel(
                "What the best network of this width computes",
                functions,
                (-1, 1),
                (-1.6, 1.6),
                "x",
                "y",
                says="With more units the curves follow the function more closely.",
            ),
            Panel(
                "Error against width",
                errors,
                (widths[0] / 1.2, widths[-1] * 1.2),
                (min(e[1] for e in ends.values()) / 3, 1.0),
                "units in a layer",
                "mean squared error",
                "xy",
                says="Both errors fall as the width grows.",
            ),
        ],
        f"From {widths[0]} to {widths[-1]} units the error falls from {ends[1][0]:.2g} to {ends[1][1]:.1g} with one "
        f"hidden layer "
        f"and from {ends[2][0]:.2g} to {ends[2][1]:.1g} with two.",
    )


TOPIC = Topic(
    title="Width and depth",
    question="How many units does a network need to draw a curve?",
    says=(
        "Every tanh unit adds one bend, so a network with few units can follow only the rough shape.",
        "The theorem of universal approximation says that with enough units one hidden layer comes as close as you "
        "like.",
        "A second layer bends what is already bent, so it helps most where units are few; with many units, training "
        "is what "
        "limits both.",
    ),
    exercise=(
        "Add 32 to the widths. With one hidden layer, 32 units can do all that 16 can, and more: why is their error "
        "higher "
        "after the same number of passes?"
    ),
    study=study,
    draw=draw,
    quick={"passes": 1500.0, "widths": (1, 4, 16)},
)
