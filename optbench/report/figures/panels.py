"""One figure at a time on axes that a caller may give: for notebooks and papers of one's own.

Nothing global is changed: neither matplotlib's backend nor its settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from optbench.core.trial import LOWEST_SEEN, RequestError
from optbench.report.analysis import statistics
from optbench.report.analysis.bands import Bands
from optbench.report.analysis.cells import higher_is_better
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.statistics import ecdf
from optbench.report.analysis.study import Study
from optbench.report.figures.style import Style, short
from optbench.report.format import percent

AXES = {"passes": "passes over the training data", "seconds": "seconds", "samples": "samples", "flops": "FLOPs"}


def axes(ax: Any = None) -> Any:
    """The axes that were given, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, 4.0), layout="constrained")[1]


def curves(ax: Any, study: Study, styles: Mapping[str, Style], problem: str, column: str, axis: str) -> Any:
    """Median of a column over seeds with its interval against a cost. Raises RequestError for a name there is not."""
    if column not in study.points:
        known = [
            name for name in map(str, study.points) if name == "loss" or name.startswith(("valid_", "test_", "train_"))
        ]
        raise RequestError(f"no column {column!r} in the curves; there are {', '.join(known)}")
    if axis not in AXES:
        raise RequestError(f"axis={axis!r} is none of {', '.join(AXES)}")
    panel = axes(ax)
    bands = Bands(study, problem, axis)
    first = float(bands.grid[1]) if len(bands.grid) > 1 else 1.0
    positive = True
    for label in study.labels:
        band = bands.band(label, column)
        if band is None:
            continue
        style, x = styles[label], np.maximum(band.cost, first / 2)
        finite = np.isfinite(band.middle)
        panel.plot(
            x[finite], band.middle[finite], color=style.colour, linestyle=style.dash, marker=style.marker,
            markersize=3.5, markevery=max(1, len(x) // 6), linewidth=1.3, label=short(label), drawstyle="steps-post",
        )  # fmt: skip
        sure = np.isfinite(band.low) & np.isfinite(band.high)
        panel.fill_between(x, band.low, band.high, where=sure, step="post", color=style.colour, alpha=0.13, linewidth=0)
        positive &= bool((band.middle[finite] > 0).all())
    panel.set_xscale("log")
    if positive and not higher_is_better(column):
        panel.set_yscale("log")
    shared = axis == "seconds" and not all(bool(comparable) for _, comparable in bands.cells.values())
    unit = study.unit if axis == "passes" and study.unit != "passes" else AXES[axis]
    panel.set(xlabel=unit + (" (shared clock)" if shared else ""), ylabel=column.replace("_", " "))
    panel.set_title(short(problem, 60))
    panel.legend(frameon=False, fontsize="small")
    return panel


def targets(ax: Any, study: Study, styles: Mapping[str, Style]) -> Any:
    """Share of all (problem, target, seed) that are reached by a cost, a line an optimizer."""
    panel = axes(ax)
    end = float(study.trials["budget"].max()) if len(study.trials) else 1.0
    for label in study.labels:
        rows = np.concatenate([rows for (_, name), rows in study.cells.items() if name == label])
        cost, share = ecdf(study.passes_to[rows].ravel())
        style = styles[label]
        panel.plot(
            [*cost, max(end, *cost)] if len(cost) else [end],
            [*share, share[-1]] if len(share) else [0.0],
            color=style.colour, linestyle=style.dash, drawstyle="steps-post", label=short(label), linewidth=1.3,
        )  # fmt: skip
    seen = any(LOWEST_SEEN in study.measured_from(problem) for problem in study.problems)
    names = ", ".join(percent(tau) for tau in study.taus)
    measured = f"; measured from the {LOWEST_SEEN}" if seen else ""
    panel.set_xscale("log")
    unit = AXES["passes"] if study.unit == "passes" else study.unit
    panel.set(xlabel=unit, ylabel="share of targets reached", ylim=(-0.02, 1.02))
    panel.set_title(f"targets {names}{measured}", fontsize="small")
    panel.legend(frameon=False, fontsize="small")
    return panel


def ranks(ax: Any, found: Findings, styles: Mapping[str, Style]) -> Any:
    """Mean rank of each optimizer over problems, or over the seeds of one problem; 1 is best."""
    panel = axes(ax)
    study = found.study
    mean = found.ranking.ranks if len(study.problems) > 1 else _ranks_over_seeds(study)
    order = sorted(mean, key=lambda label: mean[label])
    for place, label in enumerate(reversed(order)):
        style = styles[label]
        panel.plot([1, mean[label]], [place, place], color=style.colour, linewidth=1.0)
        panel.plot(mean[label], place, marker=style.marker, color=style.colour, linestyle="none")
    panel.set_yticks(range(len(order)), [short(label) for label in reversed(order)])
    over = "problems" if len(study.problems) > 1 else "seeds"
    panel.set(xlabel=f"mean rank over {over} by final training loss, 1 is best", xlim=(0.9, max(2, len(order)) + 0.1))
    if len(study.problems) > 1:
        panel.set_xlabel("mean rank over problems by score, 1 is best")
    return panel


def _ranks_over_seeds(study: Study) -> dict[str, float]:
    table = study.trials.pivot_table(index="seed", columns="label", values="final", aggfunc="first", dropna=False)
    placed = statistics.ranks(np.where(np.isfinite(rows := table.to_numpy(dtype=float)), rows, np.inf))
    return dict(zip(map(str, table.columns), map(float, placed.mean(axis=0)), strict=True)) if len(placed) else {}


def sensitivity(ax: Any, found: Findings, styles: Mapping[str, Style], problem: str, setting: str) -> Any:
    """Median final loss against a setting, a line an optimizer, over its trials at each value.

    Raises RequestError where no optimizer ran with two values of it.
    """
    study = found.settings
    rows: dict[str, dict[float, list[float]]] = {}
    here = study.trials[study.trials["problem"] == problem]
    for name, hyper, final in here[["optimizer", "hyper", "final"]].to_numpy():
        value = (hyper or {}).get(setting) if isinstance(hyper, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            rows.setdefault(str(name), {}).setdefault(float(value), []).append(float(final))
    several = {name: values for name, values in rows.items() if len(values) > 1}
    if not several:
        raise RequestError(
            f"no optimizer ran with several values of {setting!r}: write 'adam[{setting}=0.001,0.01]', or tune=8"
        )
    panel = axes(ax)
    for name, values in several.items():
        x = sorted(values)
        middle = [float(np.median(values[one])) for one in x]
        shown = [value if math.isfinite(value) else math.nan for value in middle]
        style = styles.get(name) or next(iter(styles.values()))
        panel.plot(x, shown, marker="o", markersize=3.5, linestyle=style.dash, linewidth=1.3, label=short(name))
    panel.set_xscale("log")
    if all(value > 0 for values in several.values() for one in values.values() for value in one):
        panel.set_yscale("log")
    panel.set(xlabel=setting, ylabel="median final training loss", title=short(problem, 60))
    panel.legend(frameon=False, fontsize="small")
    return panel
