"""Draw docs/figures/trajectories.{svg,png}: where optimizers went on the two-dimensional functions, on the contours.

    python scripts/make_trajectories.py RESULTS

The points are those of the records (`train_x`, `train_y` at log-spaced costs, for the first seed), so nothing is run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import drawn
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from optbench.problems import PROBLEMS
from optbench.problems.functions import Function
from optbench.records.reader import read
from optbench.registry.catalog import Catalog

OUT = Path(__file__).parents[1] / "docs" / "figures" / "trajectories"
OPTIMIZERS = ("sgd", "adam", "lbfgs", "nelder_mead", "pso", "aco_r")
MARKS = ("o", "s", "D", "^", "v", "P")  # as well as colours, for those who do not see them


def contours(axes: Axes, problem: Function) -> None:
    """Level lines of the function over its box, at equal ratios of the value."""
    low, high = problem.box
    line = torch.linspace(low, high, 300, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="xy")
    values = torch.vmap(problem.formula)(torch.stack([x.flatten(), y.flatten()], 1)).view(x.shape).numpy()
    floor = max(float(values.min()), float(values.max()) * 1e-7)
    levels = np.geomspace(floor, float(values.max()), 16)
    norm = LogNorm(levels[0], levels[-1])
    filled = axes.contourf(
        x.numpy(), y.numpy(), values.clip(floor), levels=levels, norm=norm, cmap="Greys_r", alpha=0.55
    )
    filled.set_rasterized(True)  # thousands of vertices in an SVG
    axes.plot(problem.minimiser, problem.minimiser, marker="*", color="black", markersize=12, zorder=5)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="x", ylabel="y")


def path(points: pd.DataFrame, trials: pd.DataFrame, problem: str, optimizer: str) -> pd.DataFrame:
    """The points of the optimizer's first seed on this problem, in order; empty where there is no such trial."""
    rows = trials.index[(trials["problem"] == problem) & (trials["label"] == optimizer)]
    if not len(rows):
        return points.iloc[:0]
    first = trials.loc[rows].sort_values("seed").index[0]
    return points[points["trial"] == first].sort_values("passes")


def figure(folder: str) -> plt.Figure:
    results = read(folder)
    catalog = Catalog()
    planes = [name for name in PROBLEMS if name.endswith("_2d") and (results.trials["problem"] == name).any()]
    if not planes:
        raise SystemExit(f"{folder} has no record of a problem in two dimensions; run one of the *_2d problems first")
    columns = min(3, len(planes))
    whole, grid = plt.subplots(
        -(-len(planes) // columns), columns, figsize=(4.2 * columns, 4.4 * -(-len(planes) // columns))
    )
    colours = sns.color_palette("colorblind", len(OPTIMIZERS))
    for axes in np.atleast_1d(grid).flat[len(planes) :]:
        axes.set_visible(False)
    for axes, name in zip(np.atleast_1d(grid).flat, planes, strict=False):
        problem = catalog.problem(name)
        assert isinstance(problem, Function)
        contours(axes, problem)
        title = PROBLEMS[name].summary.removesuffix(" in 2 dimensions")
        axes.set_title(title[0].upper() + title[1:])
        for optimizer, colour, mark in zip(OPTIMIZERS, colours, MARKS, strict=True):
            found = path(results.points, results.trials, name, optimizer)
            axes.plot(
                found["train_x"],
                found["train_y"],
                color=colour,
                marker=mark,
                markersize=4,
                linewidth=1.2,
                label=optimizer,
            )
    handles, labels = np.atleast_1d(grid).flat[0].get_legend_handles_labels()
    whole.legend(handles, labels, loc="lower center", ncols=len(OPTIMIZERS), frameon=False)
    whole.tight_layout(rect=(0, 0.04, 1, 1))
    return whole


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a results folder with the functions in two dimensions")
    drawn.save(figure(parser.parse_args().folder), OUT)
