"""What the settings of one optimizer are worth: learning-rate sensitivity and the expected best of k."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.study import Study
from optbench.report.style import COLOURS, DASHES, MARKERS, PAPER, legend, log, pyplot, short
from optbench.stats import best_of

RATES = ("lr", "learning_rate")
LEAST = 3  # settings of one optimizer on one problem from which a view is worth drawing


def settings(study: Study) -> pd.DataFrame:
    """A row a (problem, optimizer, setting) of optimizers with three settings or more.

    `select` is what the choice is made on (median validation loss; the training loss where there is none) and `value`
    what is reported (median test loss; else the training loss). Lost trials are infinite in both.
    """
    counts: Counter[tuple[str, str]] = Counter()
    names = {key: _family(study.trials.iloc[cell[0]]) for key, cell in study.cells.items()}
    counts.update((problem, names[problem, label]) for problem, label in study.cells)
    if not any(count >= LEAST for count in counts.values()):
        return pd.DataFrame()
    last = study.points.groupby("trial").last(skipna=False).reindex(study.trials.index)
    rows = []
    for (problem, label), cell in study.cells.items():
        if counts[problem, names[problem, label]] < LEAST:
            continue
        trial = study.trials.iloc[cell[0]]
        hyper = trial["hyper"] if isinstance(trial["hyper"], dict) else {}
        rate = next((float(hyper[name]) for name in RATES if isinstance(hyper.get(name), int | float)), math.nan)
        tuned = "valid_loss" in last and last["valid_loss"].iloc[cell].notna().any()
        tested = "test_loss" in last and last["test_loss"].iloc[cell].notna().any()
        rows.append(
            {"problem": problem, "optimizer": names[problem, label], "label": label, "rate": rate}
            | {"select": _median(study, last, cell, "valid_loss" if tuned else "loss")}
            | {"value": _median(study, last, cell, "test_loss" if tested else "loss")}
            | {"selected_on": "validation" if tuned else "training", "reported_on": "test" if tested else "training"}
            | {"final": _median(study, last, cell, "loss"), "passes": float(study.trials["passes"].iloc[cell].sum())}
        )
    return pd.DataFrame(rows)


def _family(trial: pd.Series) -> str:
    """The optimizer's name, with the suffix that tells devices and folders apart."""
    return str(trial["optimizer"]) + str(trial["label"])[len(str(trial["plain"])) :]


def _median(study: Study, last: pd.DataFrame, cell: np.ndarray, column: str) -> float:
    values = last[column].to_numpy(dtype=float)[cell]
    return float(np.median(np.where(np.isnan(values) | study.lost[cell], np.inf, values)))


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


def figures(table: pd.DataFrame, best: pd.DataFrame) -> dict[str, Any]:
    """{"rates": loss against learning rate, "best_of_k": expected best against the number of settings tried}."""
    if not len(table):
        return {}
    names = list(dict.fromkeys(table["optimizer"]))
    out = {"best_of_k": _panels(best, names, "k", "expected", "settings tried", "expected loss of the best")}
    rated = table[table["rate"] > 0].sort_values("rate")
    several = rated.groupby(["problem", "optimizer"])["rate"].transform("nunique") >= LEAST
    if several.any():
        out["rates"] = _panels(rated[several], names, "rate", "final", "learning rate", "median final loss")
    return out


def _panels(table: pd.DataFrame, names: list[str], x: str, y: str, across: str, up: str) -> Any:
    plt = pyplot()
    problems = list(dict.fromkeys(table["problem"]))[:12]
    columns = min(3, len(problems))
    rows = math.ceil(len(problems) / columns)
    size = (PAPER if columns > 1 else 0.6 * PAPER, 1.6 * rows + 0.5)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    handles: Mapping[str, Any] = {}
    for k, panel in enumerate(axes.flat):
        if k >= len(problems):
            panel.set_visible(False)
            continue
        handles = {**handles, **_lines(panel, table[table["problem"] == problems[k]], names, x, y)}
        panel.set_title(short(problems[k], 30))
        if k % columns == 0:
            panel.set_ylabel(up)
        if k >= len(problems) - columns:
            panel.set_xlabel(across)
    legend(figure, list(handles.values()), list(handles))
    return figure


def _lines(panel: Any, table: pd.DataFrame, names: list[str], x: str, y: str) -> dict[str, Any]:
    handles = {}
    for name, part in table.groupby("optimizer", sort=False):
        k = names.index(str(name))
        values = part[y].replace(math.inf, math.nan)
        (handles[str(name)],) = panel.plot(
            part[x], values, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)],
            linestyle=DASHES[k // len(COLOURS) % len(DASHES)],
        )  # fmt: skip
    if (table[y].replace(math.inf, math.nan) > 0).any():
        log(panel)
        if x == "k":
            panel.set_xscale("linear")
    return handles
