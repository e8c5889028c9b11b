"""Small multiples: a panel a problem, twelve to a figure, one legend under all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optbench.report.figures.style import PAPER, legend, pyplot

COLUMNS = 3
PAGE = 12  # panels a figure; more problems make more figures

Panel = Callable[[Any, str], Mapping[str, Any]]  # (axes, problem) -> {label: what stands for it in the legend}


def pages(name: str, problems: Sequence[str], maximum: int = PAGE) -> dict[str, Sequence[str]]:
    """{figure's name: its problems}, `maximum` to a figure; names are numbered where one figure cannot hold all."""
    starts = range(0, len(problems), maximum)
    return {f"{name}_{k + 1}" if len(starts) > 1 else name: problems[at : at + maximum] for k, at in enumerate(starts)}


def multiples(problems: Sequence[str], labels: Sequence[str], panel: Panel, across: str, up: str) -> Any:
    """A figure with what `panel` draws of each problem. labels: in the order of the legend. across, up: the axes."""
    plt = pyplot()
    columns = min(COLUMNS, len(problems))
    rows, entries = math.ceil(len(problems) / columns), max(1, math.ceil(len(labels) / 4))
    size = (PAPER * columns / COLUMNS if columns > 1 else 0.6 * PAPER, 1.75 * rows + 0.17 * entries + 0.2)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    handles: dict[str, Any] = {}
    for k, axis in enumerate(axes.flat):
        if k >= len(problems):
            axis.set_visible(False)
            continue
        handles |= panel(axis, problems[k])
        if k % columns == 0:
            axis.set_ylabel(up)
        if k >= len(problems) - columns:
            axis.set_xlabel(across)
    shown = [label for label in labels if label in handles]
    legend(figure, [handles[label] for label in shown], shown, columns=4 if columns > 1 else 2)
    return figure
