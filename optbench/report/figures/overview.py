"""The figures of all problems at once: cost to target, gap at budget, throughput."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from optbench.core.trial import LOWEST_SEEN
from optbench.report.analysis.study import Study
from optbench.report.figures.multiples import pages
from optbench.report.figures.style import (
    GREY,
    PAPER,
    Style,
    letters,
    log,
    panels_across,
    short,
    short_all,
    subplots,
    titled,
)
from optbench.report.format import number, target_name

MAX_PROBLEMS = 12  # beyond which the heat map has one target


def targets(study: Study, labels: Sequence[str], table: pd.DataFrame) -> Any:
    """Heat maps of the median passes to a target, problems x optimizers; a cross where the median trial misses it.

    Every target with few problems. With more than MAX_PROBLEMS only the headline target, so that it can be read.
    """
    taus = [tau for tau in study.taus if len(table) and (table["tau"] == tau).any()]
    if len(taus) > 4 or len(study.problems) > MAX_PROBLEMS:
        taus = [study.headline]
    table = table[table["label"].isin(labels)] if len(table) else table
    if not taus or not len(table):
        return None
    stated = [[p for p in study.problems if math.isfinite(study.target(p, tau))] for tau in taus]
    columns = min(2, len(taus)) if len(labels) <= 8 else 1
    rows = math.ceil(len(taus) / columns)
    height = rows * (0.15 * max(map(len, stated)) + 1.15) + 0.2
    figure, axes = subplots(rows, columns, PAPER, height)
    finite = table["passes"][np.isfinite(table["passes"])]
    floor = _floor(finite)
    low = math.log10(floor)
    high = max(low + 1e-9, math.log10(max(finite.max(), floor))) if len(finite) else low + 1
    for k, panel in enumerate(axes.flat):
        if k >= len(taus):
            panel.set_visible(False)
            continue
        part = table[table["tau"] == taus[k]].pivot(index="problem", columns="label", values="passes")
        part = part.reindex(index=stated[k], columns=list(labels))
        numbers = part.to_numpy(dtype=float)
        shade = np.log10(np.clip(np.where(np.isfinite(numbers), numbers, np.nan), floor, None))
        panel.pcolormesh(shade, cmap=_pale("cividis_r"), vmin=low, vmax=high, edgecolors="#dddddd", linewidth=0.4)
        panel.set_xticks(np.arange(len(labels)) + 0.5, short_all([*labels], 18))
        panel.set_yticks(np.arange(len(part)) + 0.5, short_all([*map(str, part.index)], 24))
        panel.invert_yaxis()
        panel.grid(False)
        _numbers(panel, numbers)
        titled(panel, f"passes to the {target_name(taus[k])} (median of seeds)")
        for name in panel.get_xticklabels():
            name.set(rotation=35, ha="right", rotation_mode="anchor")
        panel.set(xlabel="", ylabel="")
    return figure


def _pale(name: str) -> Any:
    """The lighter part of a colour map, so that the numbers on it stay legible."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps[name](np.linspace(0, 0.6, 128)))


def _numbers(panel: Any, numbers: np.ndarray) -> None:
    """The number in every cell, a cross for a miss."""
    size = letters(6 if numbers.shape[1] <= 8 else 5)
    for (i, j), value in np.ndenumerate(numbers):
        if not math.isnan(value):
            colour = "black" if math.isfinite(value) else GREY
            text = number(value, never="✗")
            panel.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=size, color=colour)


def _floor(costs: pd.Series) -> float:
    positive = costs[costs > 0]
    return float(positive.min()) if len(positive) else 1.0


def gaps(
    study: Study, labels: Sequence[str], styles: Mapping[str, Style], table: pd.DataFrame
) -> dict[str, Callable[[], Any]]:
    """{name: what draws it}: final loss above the best known, with its interval, a panel a problem."""
    problems = [name for name in study.problems if len(table) and (table["problem"] == name).any()]
    split = pages("gaps", problems)
    return {name: partial(_gaps, study, labels, styles, table, shown) for name, shown in split.items()}


def _gaps(
    study: Study, labels: Sequence[str], styles: Mapping[str, Style], table: pd.DataFrame, problems: Sequence[str]
) -> Any:
    columns = panels_across(len(problems))
    rows = math.ceil(len(problems) / columns)
    size = (PAPER if columns > 1 else 0.6 * PAPER, rows * (0.145 * len(labels) + 0.62))
    figure, axes = subplots(rows, columns, *size, sharey=True)
    places = np.arange(len(labels))[::-1]
    for k, panel in enumerate(axes.flat):
        if k >= len(problems):
            panel.set_visible(False)
            continue
        part = table[table["problem"] == problems[k]].set_index("label").reindex(list(labels))
        prefix = "gap" if part["gap"].notna().any() else "loss"
        _gap_panel(panel, part, prefix, styles, places)
        panel.set_title(short(problems[k], 30))
        panel.set_yticks(places, short_all([*labels], 22))
        if k >= len(problems) - columns:
            seen = LOWEST_SEEN in study.measured_from(problems[k])
            gap = "final loss above lowest seen" if seen else "final loss above best"
            panel.set_xlabel(gap if prefix == "gap" else "final loss")
    return figure


def gap_limits(values: np.ndarray) -> tuple[float, float]:
    """(least, most) of a logarithmic axis for (n, 3) medians with their intervals' ends.

    One that blew up does not set the scale, nor does the end of its interval.
    """
    finite = values[np.isfinite(values) & (values > 0)]
    middles = values[:, 0][np.isfinite(values[:, 0]) & (values[:, 0] > 0)]
    if not len(middles):
        return 1e-8, 1.0
    top = 3 * min(float(middles.max()), 1e3 * float(np.quantile(middles, 0.75)))
    return max(float(finite.min()), 1e-8 * top), top


def _gap_panel(panel: Any, part: pd.DataFrame, prefix: str, styles: Mapping[str, Style], places: np.ndarray) -> None:
    values = part[[prefix, f"{prefix}_low", f"{prefix}_high"]].to_numpy(dtype=float)
    floor, top = gap_limits(values)
    for (label, _row), (middle, low, high), place in zip(part.iterrows(), values, places, strict=True):
        if math.isnan(middle):
            continue
        style = styles[str(label)]
        if middle > top:
            panel.plot(
                top,
                place,
                marker="x" if math.isinf(middle) else ">",
                color=GREY,
                markersize=letters(4),
                linestyle="none",
                clip_on=False,
            )
            continue
        ends = np.clip([low, high if math.isfinite(high) else top], floor, top)
        panel.plot(ends, [place, place], color=style.colour, linewidth=1.0)
        panel.plot(max(middle, floor), place, marker=style.marker, color=style.colour, linestyle="none")
    log(panel, both=False)
    panel.set_xlim(floor / 2, top * 1.3)
    panel.set_ylim(-0.7, len(places) - 0.3)


def throughput(labels: Sequence[str], styles: Mapping[str, Style], table: pd.DataFrame) -> Any:
    """Samples and candidates a second, the share of the ceiling and memory: a dot a problem, a row an optimizer."""
    table = table[table["label"].isin(labels)] if len(table) else table
    if not len(table):
        return None
    views = {
        "samples_per_second": "samples a second",
        "candidates_per_second": "candidates a second",
        "share_of_ceiling": "share of the matrix-product ceiling",
        "peak_bytes": "peak memory above start (MB)",
    }
    shown = {name: title for name, title in views.items() if (table[name].fillna(0) > 0).any()}
    if not shown:
        return None
    rows = math.ceil(len(shown) / 2)
    figure, axes = subplots(rows, min(2, len(shown)), PAPER, rows * (0.16 * len(labels) + 0.65), sharey=True)
    places = {label: len(labels) - 1 - k for k, label in enumerate(labels)}
    for panel in axes.flat[len(shown) :]:
        panel.set_visible(False)
    for panel, (name, title) in zip(axes.flat, shown.items(), strict=False):
        for label, part in table.groupby("label", sort=False):
            values = part[name].to_numpy(dtype=float) / (1e6 if name == "peak_bytes" else 1)
            values = values[np.isfinite(values) & (values > 0)]
            style, place = styles[str(label)], places[str(label)]
            if len(values):
                panel.plot([values.min(), values.max()], [place, place], color=style.colour, linewidth=0.7)
            panel.plot(
                values,
                np.full(len(values), place),
                marker=style.marker,
                color=style.colour,
                linestyle="none",
                alpha=0.8,
            )
        log(panel, both=False)
        titled(panel, title)
        panel.set_yticks(list(places.values()), short_all([*places], 22))
        panel.set_ylim(-0.7, len(places) - 0.3)
    return figure
