"""Small multiples: a panel a problem, twelve to a figure in a paper, one legend under all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optbench.report.figures.style import PAPER, legend, panels_a_page, panels_across, subplots

Panel = Callable[[Any, str], Mapping[str, Any]]  # (axes, problem) -> {label: what stands for it in the legend}


def pages(name: str, problems: Sequence[str]) -> dict[str, Sequence[str]]:
    """{figure's name: its problems}; names are numbered where one figure cannot hold all."""
    maximum = panels_a_page()
    starts = range(0, len(problems), maximum)
    return {f"{name}_{k + 1}" if len(starts) > 1 else name: problems[at : at + maximum] for k, at in enumerate(starts)}


def multiples(problems: Sequence[str], labels: Sequence[str], panel: Panel, across: str, up: str) -> Any:
    """A figure with what `panel` draws of each problem. labels: in the order of the legend. across, up: the axes."""
    columns = panels_across(len(problems))
    rows, entries = math.ceil(len(problems) / columns), max(1, math.ceil(len(labels) / 4))
    width = 0.6 * PAPER if columns == 1 else PAPER * columns / panels_across(3)
    figure, axes = subplots(rows, columns, width, 1.75 * rows + 0.17 * entries + 0.2)
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
