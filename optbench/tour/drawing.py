"""Layers that several pages draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from optbench.core.problem import Problem
from optbench.tour.picture import Frames, Layer, Panel, dots, image, line
from optbench.watch.landscape import Landscape
from optbench.watch.scene import heights

VALLEY = ("#8ea6bf", "#dfe7ee", "#ffffff")  # low to high
SIDE = 90  # points of a surface
BOWL = (-1.3, 2.1, -1.7, 1.7)  # left, right, bottom, top: where the line of `samples.slope` is fitted


def growing(
    x: Any, y: Any, seen: Sequence[int], colour: str, label: str = "", dash: Sequence[int] = (), width: float = 2.2
) -> list[Layer]:
    """A line that grows with the slider, and a dot at its head. seen: the point that it has come to, at each place."""
    x, y = [float(one) for one in x], [float(one) for one in y]
    head = dots(Frames([[x[k]] for k in seen]), Frames([[y[k]] for k in seen]), colour, size=5.5, edge="#ffffff")
    return [line(x, y, colour, label, width, dash, Frames([k + 1 for k in seen])), head]


def surface(problem: Problem, window: Sequence[float]) -> Layer:
    """The loss of a problem of two parameters over a window (left, right, bottom, top): dark is low."""
    xs, ys = np.linspace(window[0], window[1], SIDE), np.linspace(window[3], window[2], SIDE)
    points = torch.as_tensor(np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2), dtype=problem.dtype)
    decades, levels = heights(Landscape(problem).losses(points).reshape(SIDE, SIDE))
    steps = np.digitize(decades, levels[::2])
    return image(steps, window, (1, len(levels[::2])), VALLEY, smooth=True)


def costs_said(costs: Sequence[float]) -> list[str]:
    """What the slider says of costs."""
    return [f"{cost:,.0f} passes" if cost >= 100 else f"{cost:.1f} passes" for cost in costs]


def bowl(
    runs: Sequence[Any], seen: Sequence[Sequence[int]], names: Sequence[str], colours: Sequence[str], says: str
) -> Panel:
    """The paths of runs in the plane of a line's weight and bias, on the loss. seen: as `growing` takes it, of each."""
    layers = [surface(runs[0].problem, BOWL)]
    for run, at, name, colour in zip(runs, seen, names, colours, strict=True):
        points = np.array([point.numpy() for point in run.points])
        layers += growing(points[:, 0], points[:, 1], at, colour, name)
    return Panel("The path through the bowl", layers, BOWL[:2], BOWL[2:], "weight", "bias", shape=0.9, says=says)
