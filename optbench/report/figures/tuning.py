"""What the settings of one optimizer are worth: learning-rate sensitivity and the expected best of k."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.selection import criterion
from optbench.report.analysis.statistics import Array, best_of
from optbench.report.analysis.study import Study
from optbench.report.figures.curves import PAGE, pages
from optbench.report.figures.style import PAPER, Style, legend, log, pyplot, short
from optbench.report.figures.style import styles as looks_of

RATES = ("lr", "learning_rate")
LEAST = 3  # settings of one optimizer on one problem from which a view is worth drawing


def settings(study: Study) -> pd.DataFrame:
    """A row a (problem, optimizer, setting) of optimizers with three settings or more.

    `select` is what the choice is made on (median validation loss; the training loss where there is none) and `value`
    what is reported (median test loss; else the training loss). Lost trials are infinite in both.
    """
    names = _names(study)
    counts = Counter((problem, names[problem, label]) for problem, label in study.cells)
    nothing = np.full(len(study.trials), np.nan)
    valid, test, loss = (study.last.get(name, nothing) for name in ("valid_loss", "test_loss", "loss"))
    spent, hypers, plain = (study.trials[name].to_numpy() for name in ("passes", "hyper", "plain"))
    on = {problem: criterion(study, problem)[0] for problem in study.problems}
    rows = []
    for (problem, label), cell in study.cells.items():
        if counts[problem, names[problem, label]] < LEAST:
            continue
        tested = not np.isnan(test[cell]).all()
        chosen = valid if on[problem] == "validation" else loss
        rows.append(
            {"problem": problem, "optimizer": names[problem, label], "label": plain[cell[0]]}
            | {"rate": _rate(hypers[cell[0]])}
            | {"select": _median(study, chosen, cell), "value": _median(study, test if tested else loss, cell)}
            | {"selected_on": on[problem], "reported_on": "test" if tested else "training"}
            | {"final": _median(study, loss, cell), "passes": float(np.nansum(spent[cell].astype(float)))}
            | {"lost": int(study.lost[cell].sum()), "trials": len(cell)}
        )
    return pd.DataFrame(rows)


def _names(study: Study) -> dict[tuple[str, str], str]:
    """(problem, label) -> whose setting it is: the tuned optimizer, or the optimizer with its device and folder."""
    label, plain, optimizer, competitor = (
        study.trials[name].astype(str).to_numpy() for name in ("label", "plain", "optimizer", "competitor")
    )
    out = {}
    for key, cell in study.cells.items():
        row = cell[0]
        tuned = competitor[row] != label[row]
        out[key] = competitor[row] if tuned else optimizer[row] + label[row][len(plain[row]) :]
    return out


def _rate(hyper: Any) -> float:
    given = hyper if isinstance(hyper, dict) else {}
    return next((float(given[name]) for name in RATES if isinstance(given.get(name), int | float)), math.nan)


def _median(study: Study, values: Array, cell: np.ndarray) -> float:
    return float(np.median(np.where(np.isnan(values[cell]) | study.lost[cell], np.inf, values[cell])))


def best_of_k(table: pd.DataFrame) -> pd.DataFrame:
    """Expected `value` of the best of k settings by `select`, and what trying k of them cost in passes."""
    rows: list[dict[str, Any]] = []
    if not len(table):
        return pd.DataFrame(rows)
    for (problem, optimizer), part in table.groupby(["problem", "optimizer"], sort=False):
        expected = best_of(part["select"], part["value"])
        each = float(part["passes"].mean())
        for k, value in enumerate(expected, 1):
            rows.append(
                {"problem": problem, "optimizer": optimizer, "k": k, "expected": value, "tuning_passes": k * each}
                | {name: part[name].iloc[0] for name in ("selected_on", "reported_on")}
            )
    return pd.DataFrame(rows)


def figures(
    table: pd.DataFrame, best: pd.DataFrame, styles: Mapping[str, Style], order: Sequence[str], most: int
) -> dict[str, Any]:
    """{name: figure}: loss against learning rate, and expected best against settings tried; twelve problems a figure.

    order: the labels by rank; of more than `most` optimizers the first ones are drawn.
    """
    if not len(table):
        return {}
    names = list(dict.fromkeys(best["optimizer"]))
    names = sorted(names, key=lambda name: order.index(name) if name in order else len(order))[:most]
    own = {**looks_of(names), **{name: styles[name] for name in names if name in styles}}
    out = _paged("best_of_k", best, own, "k", "expected", "settings tried", "expected loss of the best")
    rated = table[table["rate"] > 0].sort_values("rate")
    several = rated.groupby(["problem", "optimizer"])["rate"].transform("nunique") >= LEAST
    return out | _paged("rates", rated[several], own, "rate", "final", "learning rate", "median final loss")


def _paged(name: str, table: pd.DataFrame, styles: Mapping[str, Style], *what: str) -> dict[str, Any]:
    table = table[table["optimizer"].isin(styles)]
    problems = list(dict.fromkeys(table["problem"]))
    return {page: _panels(table, shown, styles, *what) for page, shown in pages(name, problems, PAGE).items()}


def _panels(
    table: pd.DataFrame, problems: Sequence[str], styles: Mapping[str, Style], x: str, y: str, across: str, up: str
) -> Any:
    plt = pyplot()
    columns = min(3, len(problems))
    rows = math.ceil(len(problems) / columns)
    size = (PAPER if columns > 1 else 0.6 * PAPER, 1.6 * rows + 0.17 * math.ceil(len(styles) / 4) + 0.3)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    handles: dict[str, Any] = {}
    for k, panel in enumerate(axes.flat):
        if k >= len(problems):
            panel.set_visible(False)
            continue
        handles |= _lines(panel, table[table["problem"] == problems[k]], styles, x, y)
        panel.set_title(short(problems[k], 30))
        if k % columns == 0:
            panel.set_ylabel(up)
        if k >= len(problems) - columns:
            panel.set_xlabel(across)
    shown = [name for name in styles if name in handles]
    legend(figure, [handles[name] for name in shown], shown)
    return figure


def _lines(panel: Any, table: pd.DataFrame, styles: Mapping[str, Style], x: str, y: str) -> dict[str, Any]:
    handles = {}
    for name, part in table.groupby("optimizer", sort=False):
        look = styles[str(name)]
        values = part[y].replace(math.inf, math.nan)
        (handles[str(name)],) = panel.plot(
            part[x], values, color=look.colour, marker=look.marker, linestyle=look.dash,
            linewidth=1.2 if x == "k" else 0.6,
        )  # fmt: skip
    if (table[y].replace(math.inf, math.nan) > 0).any():
        log(panel)
        if x == "k":
            panel.set_xscale("linear")
    return handles
