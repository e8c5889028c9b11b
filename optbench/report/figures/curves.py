"""Curves of all problems as small multiples: median loss gap over seeds against a cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from optbench.core.trial import LOWEST_SEEN
from optbench.report.analysis.bands import Bands
from optbench.report.analysis.splits import OF_EACH
from optbench.report.analysis.statistics import Array
from optbench.report.analysis.study import Study
from optbench.report.figures.multiples import multiples, pages
from optbench.report.figures.style import Style, log, short

UNITS = {"passes": "passes", "seconds": "seconds", "samples": "samples", "flops": "FLOPs"}


def figures(
    study: Study, labels: Sequence[str], styles: Mapping[str, Style], axis: str
) -> dict[str, Callable[[], Any]]:
    """{name: what draws it}: one for every twelve problems."""
    split = pages(f"curves_{axis}", study.problems)
    return {name: partial(_figure, study, labels, styles, axis, problems) for name, problems in split.items()}


def _figure(
    study: Study, labels: Sequence[str], styles: Mapping[str, Style], axis: str, problems: Sequence[str]
) -> Any:
    across = study.unit if axis == "passes" else UNITS[axis]
    return multiples(problems, labels, partial(_panel, study, labels, styles, axis), across, _gap_name(study, problems))


def _gap_name(study: Study, problems: Sequence[str]) -> str:
    known = [not math.isnan(study.best(problem)[0]) for problem in problems]
    if all(study.best(problem)[1] == LOWEST_SEEN for problem in problems):
        return "loss above lowest seen"
    return "loss above best" if all(known) else "loss" if not any(known) else "loss (above best if known)"


def _panel(
    study: Study, labels: Sequence[str], styles: Mapping[str, Style], axis: str, axis_: Any, problem: str
) -> dict[str, Any]:
    every = Bands(study, problem, axis)
    best, source = study.best(problem)
    zero = best if not math.isnan(best) else 0.0
    bands = {label: found for label in labels if (found := every.band(label)) is not None}
    floor, top = limits([found.middle - zero for found in bands.values()])
    shared = axis == "seconds" and any(not found.comparable for found in bands.values())
    axis_.set_title(short(problem, 30) + (" (shared clock)" if shared else ""))
    first = float(every.grid[1]) if len(every.grid) > 1 else 1.0
    shade = 0.13 if len(bands) <= 6 else 0.05
    handles: dict[str, Any] = {}
    for label, found in bands.items():
        x = np.maximum(found.cost, first / 2)  # zero has no place on a log axis
        middle, low, high = (_clipped(values - zero, floor, top) for values in (found.middle, found.low, found.high))
        if not np.isfinite(middle).any():
            continue
        style = styles[label]
        finite = np.isfinite(low) & np.isfinite(high)
        axis_.fill_between(x, low, high, where=finite, step="post", color=style.colour, alpha=shade, linewidth=0)
        (line,) = axis_.plot(
            x, middle, drawstyle="steps-post", color=style.colour, linestyle=style.dash, marker=style.marker,
            markevery=[*range(0, len(x) - 1, max(1, len(x) // 5)), len(x) - 1], label=label,
        )  # fmt: skip
        handles[label] = line
        if (beyond := np.flatnonzero(np.isfinite(found.middle) & (found.middle - zero > top))).size:
            axis_.plot(x[beyond[0]], top, marker=6, color=style.colour, markersize=4, clip_on=False, linestyle="none")
    if not handles:
        axis_.text(0.5, 0.5, "no finite curve", ha="center", va="center", transform=axis_.transAxes)
        axis_.set_xticks([])
        axis_.set_yticks([])
        return handles
    axis_.set_ylim(floor / 2, top)
    log(axis_)
    for tau in study.taus:
        goal = study.target(problem, tau) - zero if source != OF_EACH else math.nan
        if floor <= goal <= top:
            axis_.axhline(goal, color="#999999", linewidth=0.5, linestyle=(0, (1, 2)), zorder=0)
    return handles


def limits(gaps: list[Array]) -> tuple[float, float]:
    """(floor, top) of a log axis for these curves: three quarters of the curves set the top,
    and eight decades below the start (or the smallest gap) leave one exact zero a place to be drawn."""
    starts = [float(gap[0]) for gap in gaps if len(gap) and np.isfinite(gap[0]) and gap[0] > 0]
    whole = np.concatenate(gaps) if gaps else np.ones(1)
    positive = whole[np.isfinite(whole) & (whole > 0)]
    if not len(positive):
        return 1e-8, 1.0
    start = max(starts) if starts else float(positive.max())
    highest = [float(gap[np.isfinite(gap)].max()) for gap in gaps if np.isfinite(gap).any()]
    usual = max(float(np.quantile(highest or [start], 0.75)), start)  # the spikes of one method do not set the scale
    top = 2 * min(float(positive.max()), 3 * usual, 50 * start)
    return min(max(float(positive.min()), 1e-8 * start), top / 10), top


def _clipped(gap: Array, floor: float, top: float) -> Array:
    """Gaps with whatever is at or below the floor drawn on it, above the top just out of sight; infinities left out."""
    return np.where(np.isfinite(gap), np.clip(gap, floor, 2 * top), np.nan)
