"""Draw docs/figures/universal.{svg,png}, error against parameters, from the records of the suite `universal`.

    OMP_NUM_THREADS=1 python -m optbench run universal
    python scripts/make_universal.py results/universal

What is read of the records is kept in docs/universal.csv, one row per trial: docs/problems.md shows it as a table, and
without an argument that file is drawn again.
"""

from __future__ import annotations

from pathlib import Path

import drawn
import pandas as pd

from optbench.core.problem import fresh
from optbench.problems.universal import Universal
from optbench.records.reader import load
from optbench.registry.catalog import Catalog
from optbench.report.figures.style import pyplot, styles

HERE = Path(__file__).parents[1] / "docs"
DATA, FIGURE = HERE / "universal.csv", HERE / "figures" / "universal"
NAMES = {"adam": "Adam, cosine", "scipy_lbfgsb": "L-BFGS-B", "sep_cma_es": "sep-CMA-ES", "pso": "particle swarm"}


def from_records(folder: str) -> pd.DataFrame:
    """One row per trial: width, depth, parameters, optimizer, seed, and two errors between the training points.

    error: the root of the mean square; largest: over all test points, what the theorem is about.
    """
    catalog = Catalog()
    rows = []
    for trial in load(folder).itertuples():
        problem = catalog.problem(trial.problem)
        assert isinstance(problem, Universal)
        size = sum(p.numel() for p in fresh(problem, 0)[0].parameters())
        error, largest = trial.last_test_loss**0.5, trial.last_test_largest_error
        rows.append((problem.width, problem.depth, size, trial.optimizer, trial.seed, error, largest))
    columns = ["width", "depth", "parameters", "optimizer", "seed", "error", "largest"]
    return pd.DataFrame(rows, columns=columns).sort_values(columns[:5])


def table(trials: pd.DataFrame) -> list[str]:
    """Markdown: one row per network, the median over seeds of both errors for each optimizer."""
    middle = trials.groupby(["width", "depth", "parameters", "optimizer"])[["error", "largest"]].median()
    lines = [f"| parameters | width | depth | {' | '.join(NAMES.values())} |", "|---:" * (3 + len(NAMES)) + "|"]
    for width, depth, size in sorted({key[:3] for key in middle.index}, key=lambda key: key[2]):
        cells = []
        for optimizer in NAMES:
            error, largest = middle.loc[(width, depth, size, optimizer)]
            cells.append(f"{error:.2g} ({largest:.2g})")
        lines.append(f"| {size} | {width} | {depth} | {' | '.join(cells)} |")
    return lines


def draw(trials: pd.DataFrame) -> None:
    """One panel a depth: medians over seeds, bars from the lowest to the highest."""
    plt = pyplot()
    depths = sorted(trials["depth"].unique())
    figure, panels = plt.subplots(1, len(depths), figsize=(7, 2.6), sharey=True, layout="constrained")
    for panel, depth in zip(panels, depths, strict=True):
        for optimizer, style in styles(list(NAMES)).items():
            part = trials[(trials["depth"] == depth) & (trials["optimizer"] == optimizer)]
            spread = part.groupby("parameters")["error"].agg(["min", "median", "max"])
            panel.errorbar(
                spread.index,
                spread["median"],
                yerr=[spread["median"] - spread["min"], spread["max"] - spread["median"]],
                color=style.colour,
                marker=style.marker,
                markersize=4,
                linewidth=1.2,
                elinewidth=0.7,
                capsize=2,
                label=NAMES[optimizer],
            )
        panel.set(xscale="log", yscale="log", xlabel="parameters")
        sizes = sorted(trials[trials["depth"] == depth]["parameters"].unique())
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.set_xticks([], minor=True)
        panel.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}")
    panels[0].set_ylabel("error (root mean square)")
    panels[0].legend(loc="lower left")
    drawn.save(figure, FIGURE, dpi=160)


if __name__ == "__main__":
    draw(drawn.table(__doc__, "universal", DATA, from_records, digits=6))
