"""Draw docs/figures/crossover.{svg,png} and the tables of docs/crossover.md from the records of the suite `crossover`.

    OMP_NUM_THREADS=1 python -m optbench run crossover
    python scripts/make_crossover.py results/crossover

What is read of the records is kept in docs/crossover.csv, one row per trial; without an argument that file is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import drawn
import numpy as np
import pandas as pd

from optbench.records.reader import read
from optbench.report.figures.style import GREY, pyplot, styles

HERE = Path(__file__).parents[1] / "docs"
DATA, PAGE, FIGURE = HERE / "crossover.csv", HERE / "crossover.md", HERE / "figures" / "crossover"
TAUS = {0.1: "a tenth of the initial loss", 0.5: "half of the initial loss"}
NAMES = {
    "adam": "Adam", "scipy_lbfgsb": "L-BFGS-B", "nelder_mead": "Nelder-Mead", "pso": "particle swarm", "aco_r": "ACO_R",
    "openai_es": "OpenAI-ES", "spsa": "SPSA", "sep_cma_es": "sep-CMA-ES", "random_search": "random search",
}  # fmt: skip
DRAWS = 1000  # of the bootstrap


def from_records(folder: str) -> pd.DataFrame:
    """One row per trial: dimension, optimizer, seed, passes to each target (infinite where missed), the last loss."""
    results = read(folder)
    rows = []
    for index, trial in results.trials.iterrows():
        problem = results.environment["problems"][trial["problem"]]
        curve = results.points[results.points["trial"] == index]
        row = {"dim": problem["dim"], "optimizer": trial["optimizer"], "seed": trial["seed"]}
        for tau in TAUS:
            reached = curve.loc[curve["loss"] <= problem["targets"][str(tau)], "passes"]
            row[f"to_{tau}"] = reached.iloc[0] if len(reached) else np.inf
        last = curve["loss"].iloc[-1] if len(curve) else np.nan
        rows.append(row | {"loss": last, "seconds": trial["seconds"], "status": trial["status"]})
    return pd.DataFrame(rows)


def costs(data: pd.DataFrame, optimizer: str, tau: float) -> dict[int, np.ndarray]:
    """{dimension: passes to the target, one number per seed}, in the order of size."""
    mine = data[data["optimizer"] == optimizer]
    return {int(dim): part[f"to_{tau}"].to_numpy() for dim, part in mine.groupby("dim")}


def slope(medians: dict[int, float]) -> float:
    """Of log cost on log size, over the sizes whose median seed got there; NaN for fewer than three."""
    reached = {dim: cost for dim, cost in medians.items() if np.isfinite(cost)}
    if len(reached) < 3:
        return np.nan
    return float(np.polyfit(np.log(list(reached)), np.log(list(reached.values())), 1)[0])


def exponent(by_size: dict[int, np.ndarray]) -> str:
    """The slope with its 95 % bootstrap interval over seeds, or a dash."""
    middle = slope({dim: float(np.median(cost)) for dim, cost in by_size.items()})
    if np.isnan(middle):
        return "-"
    rng = np.random.default_rng(0)
    drawn = [
        slope({dim: float(np.median(rng.choice(cost, len(cost)))) for dim, cost in by_size.items()})
        for _ in range(DRAWS)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def last_reached(by_size: dict[int, np.ndarray]) -> int | None:
    """The largest size at which the median seed got there."""
    return max((dim for dim, cost in by_size.items() if np.isfinite(np.median(cost))), default=None)


def draw(data: pd.DataFrame, budget: float = 1000.0) -> Any:
    """The figure: one panel per target, passes against the number of parameters, one line per optimizer."""
    plt = pyplot()
    figure, panels = plt.subplots(len(TAUS), 1, figsize=(8.6, 7.6), sharex=True)
    seeds = data["seed"].nunique()
    for axes, (tau, name) in zip(panels, TAUS.items(), strict=True):
        for k, (optimizer, style) in enumerate(styles(list(NAMES)).items()):
            by_size = costs(data, optimizer, tau)
            last = last_reached(by_size)
            stops = f"to D = {last:,}" if last else "never"
            label = f"{NAMES[optimizer]}: {stops}, growth {exponent(by_size)}"
            at = np.array(list(by_size)) * 1.025 ** (k - 4)  # side by side, so that the bars can be told apart
            costs_of = np.array(
                [cost if np.isfinite(np.median(cost)) else np.full(seeds, np.nan) for cost in by_size.values()]
            )
            median, low = np.median(costs_of, 1), costs_of.min(1)
            high = costs_of.max(1).clip(max=1.4 * budget)  # a seed missed: off the top
            marks = {"color": style.colour, "marker": style.marker, "linestyle": style.dash, "markersize": 4}
            bars = [median - low, high - median]
            axes.errorbar(at, median, yerr=bars, label=label, linewidth=1.1, elinewidth=0.7, capsize=1.5, **marks)
            if last and last != max(by_size):
                end = list(by_size).index(last)
                axes.plot(at[end], median[end], "o", markersize=10, fillstyle="none", color=style.colour)
        axes.axhline(budget, color=GREY, linewidth=0.8, linestyle="dashed")
        axes.set(xscale="log", yscale="log", ylim=(2, 1.4 * budget), ylabel="passes over the training data")
        axes.set_title(f"Cost to {name}, median of {seeds} seeds (bars: all of them; a ring: larger networks miss it)")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="optimizer: how far it gets")
    sizes = sorted(data["dim"].unique())
    panels[-1].set_xticks(sizes, [f"{size:,}" for size in sizes])
    panels[-1].minorticks_off()
    panels[-1].set_xlabel("D, parameters of the network (growth: the exponent g of cost ~ D^g with its 95 % interval)")
    panels[0].annotate("budget", (sizes[0], budget), textcoords="offset points", xytext=(0, 3), color=GREY, fontsize=7)
    figure.tight_layout()
    return figure


def tables(data: pd.DataFrame) -> str:
    """The tables of the page, in Markdown."""
    sizes = sorted(data["dim"].unique())
    head = "| optimizer | " + " | ".join(f"{size:,}" for size in sizes)
    line = "|---|" + "---:|" * len(sizes)
    text = []
    for tau, name in TAUS.items():
        text += [f"## Cost to {name}", "", f"{head} | exponent |", f"{line}---|"]
        for optimizer, label in NAMES.items():
            by_size = costs(data, optimizer, tau)
            cells = [_cell(by_size[size]) for size in sizes]
            text.append(f"| {label} | {' | '.join(cells)} | {exponent(by_size)} |")
        text.append("")
    text += ["## Loss when the budget is spent, median", "", f"{head} |", line]
    middle = data.pivot_table(index="optimizer", columns="dim", values="loss", aggfunc="median")
    for optimizer, name in NAMES.items():
        cells = [f"{loss:.2g}" if np.isfinite(loss) else "-" for loss in middle.reindex(columns=sizes).loc[optimizer]]
        text.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(text)


def _cell(cost: np.ndarray) -> str:
    reached = int(np.isfinite(cost).sum())
    return f"{np.median(cost):.0f}" if 2 * reached > len(cost) else f"({reached}/{len(cost)})"


if __name__ == "__main__":
    table = drawn.table(__doc__, "crossover", DATA, from_records, digits=5)
    drawn.save(draw(table), FIGURE)
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- tables -->\n).*(<!-- end of tables -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda found: found[1] + tables(table) + "\n" + found[2], page), encoding="utf-8")
