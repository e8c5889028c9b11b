"""Draw docs/figures/dynamic_programming.{svg,png}: the exact optima, what gradients reach, and backprop beside DDP.

    OMP_NUM_THREADS=1 python scripts/make_dynamic_programming.py

Everything in it is computed here, in about a minute; the figures that docs/dynamic_programming.md quotes are printed.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import drawn
import numpy as np
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor
from torch.func import functional_call

from optbench.core.objective import Objective, Stop
from optbench.core.problem import Problem
from optbench.engine.metered import metered_as
from optbench.optimizers.exact.ddp import DDP
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.optimizers.exact.dp_step import DPStep
from optbench.optimizers.exact.sgd_by_hand import SGDByHand
from optbench.problems.sine_grid import SineGrid
from optbench.problems.step_1d import LEVELS, Step1d
from optbench.registry.catalog import Catalog

OUT = Path(__file__).parents[1] / "docs" / "figures" / "dynamic_programming"
SEEDS = range(5)
STYLES = ("-", "--", "-.")  # as well as colours, for those who do not see them


class Watched(Objective):
    """An objective that keeps the point that was recommended last."""

    def recommend(self, x: Tensor) -> None:
        self.recommended = x[0].clone()
        super().recommend(x)


def run(problem: Problem, optimizer: Any, passes: float, seed: int = 0) -> Watched:
    torch.set_num_threads(1)
    f = metered_as(Watched, problem, [seed], passes)
    with suppress(Stop):
        optimizer.minimise(f)
    f.finish()
    return f


def network(problem: Problem, row: Tensor, x: Tensor) -> np.ndarray:
    """The outputs at inputs x (N, 1) of the network with parameters `row` (D,)."""
    net = problem.network().to(problem.dtype)
    shapes = {name: p.shape for name, p in net.named_parameters()}
    parts = torch.split(row, [shape.numel() for shape in shapes.values()])
    values = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
    with torch.no_grad():
        return functional_call(net, values, (x,)).numpy()[:, 0]


def draw_fits(axes: Axes) -> None:
    x, y = Step1d().data().train
    line = torch.linspace(0, 1, 2000, dtype=torch.float64)[:, None]
    axes.plot(x, y, ".", color="0.65", label="128 samples")
    for K, style in ((4, "--"), (7, "-")):
        row = run(Step1d(K), DPStep(), 10).recommended
        axes.plot(line, network(Step1d(K), row, line), style, linewidth=2, label=f"optimum, {K} breaks")
    axes.set(title="A  dp_step: the best staircase there is", xlabel="x", ylabel="y")
    axes.legend()


def draw_gap(axes: Axes) -> None:
    units = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    least = [run(Step1d(K), DPStep(), 10).finish().certificates[0]["upper"] for K in units]
    adam = Catalog().optimizer("adam", {}).optimizer
    reached = np.array(
        [[run(Step1d(K), adam, 2000, seed).finish().curves[0][-1]["loss"] for seed in SEEDS] for K in units]
    )
    axes.plot(units, least, "k-", label="certified optimum")
    axes.plot(units, reached, "o", color="C1", alpha=0.6, markersize=4)
    axes.plot([], [], "o", color="C1", label="Adam, straight-through, 2,000 passes")
    axes.axvline(len(LEVELS) - 1, color="0.8", linewidth=1, zorder=0)
    axes.set(title="B  what gradients leave on the table", xlabel="hidden steps K", ylabel="loss", yscale="log")
    axes.legend()
    for K, floor, losses in zip(units, least, reached, strict=True):
        print(f"K={K:2}: optimum {floor:.4f}, Adam {np.median(losses):.4f} (median of {len(losses)})")


def draw_grid(axes: Axes) -> None:
    problem = SineGrid(3, 3)
    x, y = problem.data().train
    line = torch.linspace(-2.6, 2.4, 400, dtype=torch.float64)[:, None]
    on_grid, free = run(problem, DPGrid(), 10), run(problem, DDP(), 3e4, seed=1)
    axes.plot(x, y, "ko", markersize=4, label="16 samples of a sine")
    axes.plot(line, network(problem, on_grid.recommended, line), "C0-", label="best of 282 million integer networks")
    axes.plot(line, network(problem, free.finish().points[0], line), "C2--", label="real weights (ddp)")
    axes.set(title="C  dp_grid: 1-3-1 tanh, weights in {-3..3}", xlabel="x", ylabel="y")
    axes.legend()
    print("weights on the grid", [int(value) for value in on_grid.recommended], on_grid.finish().certificates[0])
    print("real weights", free.finish().curves[0][-1]["loss"])


def draw_descent(axes: Axes) -> None:
    problem = SineGrid(5, 2)
    lbfgs = Catalog().optimizer("scipy_lbfgsb", {}).optimizer
    methods = {
        "backprop alone (sgd_by_hand)": SGDByHand(lr=0.05),
        "L-BFGS-B": lbfgs,
        "with curvature (ddp)": DDP(),
    }
    for colour, (name, optimizer) in enumerate(methods.items()):
        for seed in SEEDS:
            points = run(problem, optimizer, 1e4, seed).finish().curves[0][1:]
            label = name if seed == 0 else None
            passes, losses = [p["passes"] for p in points], [p["loss"] for p in points]
            axes.plot(passes, losses, color=f"C{colour}", linestyle=STYLES[colour], linewidth=1.2, label=label)
        print(name, points[-1])
    least = problem.grid_best
    assert least is not None
    axes.axhline(least, color="0.5", linestyle=":", label="best on the grid {-2..2}")
    axes.set(title="D  1-5-1 tanh on the sine, 5 seeds", xlabel="passes", ylabel="loss", xscale="log", yscale="log")
    axes.set(ylim=(1e-12, 10))
    axes.legend(loc="lower left")


def main() -> None:
    sns.set_theme(style="ticks", context="paper")
    plt.rcParams.update({"legend.frameon": False, "svg.hashsalt": "optbench"})
    figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for draw, panel in zip((draw_fits, draw_gap, draw_grid, draw_descent), axes.flat, strict=True):
        draw(panel)
    sns.despine(figure)
    drawn.save(figure, OUT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    main()
