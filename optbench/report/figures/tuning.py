"""Loss against learning rate, and the expected best of k settings, as small multiples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.tuning import rated
from optbench.report.figures.multiples import multiples, pages
from optbench.report.figures.style import GREY, PAPER, Style, legend, log, most_drawn, short, subplots
from optbench.report.figures.style import styles as styles_of


def figures(
    table: pd.DataFrame, best: pd.DataFrame, styles: Mapping[str, Style], order: Sequence[str]
) -> dict[str, Callable[[], Any]]:
    """{name: what draws it}: loss against learning rate, and expected best of k settings.

    order: the labels by rank; of many optimizers the first are drawn.
    """
    if not len(table):
        return {}
    _names, own = _drawn(best, styles, order)
    out = _paged("best_of_k", best, own, "k", "expected", "settings tried", "expected best loss")
    return out | _paged("rates", rated(table), own, "rate", "final", "learning rate", "median final loss")


def _drawn(
    table: pd.DataFrame, styles: Mapping[str, Style], order: Sequence[str]
) -> tuple[list[str], dict[str, Style]]:
    """The optimizers that are drawn, by rank, and how; one that is no competitor gets a style of its own."""
    names = list(dict.fromkeys(table["optimizer"]))
    names = sorted(names, key=lambda name: order.index(name) if name in order else len(order))[: most_drawn()]
    return names, {**styles_of(names), **{name: styles[name] for name in names if name in styles}}


def score_by_cost(table: pd.DataFrame, styles: Mapping[str, Style], order: Sequence[str]) -> Any:
    """Expected score with the best of k settings against the passes that trying them costs; None without tuning."""
    if not len(table):
        return None
    names, own = _drawn(table, styles, order)
    figure, ((panel,),) = subplots(1, 1, 0.7 * PAPER, 2.1 + 0.17 * math.ceil(len(names) / 2))
    handles = []
    for name in names:
        line, style = table[table["optimizer"] == name], own[name]
        handles += panel.plot(
            line["passes"], line["score"], color=style.colour, marker=style.marker, 
            linestyle=style.dash, linewidth=1.0,
        )  # fmt: skip
    log(panel, both=False)
    panel.set(xlabel="passes for k tries (a seed, mean over problems)", ylabel="expected score")
    legend(figure, handles, names)
    return figure


def _paged(name: str, table: pd.DataFrame, styles: Mapping[str, Style], *what: str) -> dict[str, Callable[[], Any]]:
    table = table[table["optimizer"].isin(styles)]
    problems = list(dict.fromkeys(table["problem"]))
    return {page: partial(_panels, table, shown, styles, *what) for page, shown in pages(name, problems).items()}


def _panels(
    table: pd.DataFrame, problems: Sequence[str], styles: Mapping[str, Style], x: str, y: str, across: str, up: str
) -> Any:
    def panel(axes: Any, problem: str) -> dict[str, Any]:
        axes.set_title(short(problem, 30))
        return _lines(axes, table[table["problem"] == problem], styles, x, y)

    return multiples(problems, list(styles), panel, across, up)


def _cut(panel: Any, values: np.ndarray, at: np.ndarray) -> None:
    """Cut the axis above most values, and mark what lies beyond: one that blew up does not set the scale."""
    finite = values[np.isfinite(values)]
    top = 30 * float(np.quantile(finite, 0.5)) if len(finite) else np.inf
    if beyond := [float(x) for x, value in zip(at, values, strict=True) if np.isfinite(value) and value > top > 0]:
        panel.set_ylim(top=top)
        panel.plot(beyond, [top] * len(beyond), marker=6, color=GREY, linestyle="none", clip_on=False)


def _lines(panel: Any, table: pd.DataFrame, styles: Mapping[str, Style], x: str, y: str) -> dict[str, Any]:
    """A line an optimizer; against the learning rate a line joins only settings that are else the same."""
    from matplotlib.ticker import MaxNLocator

    handles = {}
    for name, part in table.groupby("optimizer", sort=False):
        style = styles[str(name)]
        lines = part.groupby("other_settings", sort=False) if x == "rate" else [("", part)]
        for _others, line in lines:
            (handles[str(name)],) = panel.plot(
                line[x], line[y].replace(math.inf, math.nan), color=style.colour, marker=style.marker,
                linestyle=style.dash, linewidth=1.2 if x == "k" else 0.6,
            )  # fmt: skip
    _cut(panel, table[y].to_numpy(dtype=float), table[x].to_numpy(dtype=float))
    if (table[y].replace(math.inf, math.nan) > 0).any():
        log(panel)
        if x == "k":
            panel.set_xscale("linear")
    if x == "k":
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return handles
