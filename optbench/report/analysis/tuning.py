"""What the settings of one optimizer are worth: loss by learning rate, and the expected best of k."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.question import TRAINING
from optbench.report.analysis.statistics import Array, best_of, cell_median
from optbench.report.analysis.study import Study

RATES = ("lr", "learning_rate")
MIN_SETTINGS = 3  # settings of one optimizer on one problem from which a view is worth drawing


def settings(study: Study) -> pd.DataFrame:
    """A row a (problem, optimizer, setting) of optimizers with three settings or more.

    `select` is what the choice is made on (the median of the loss that the question scores) and `value` what is
    reported: that loss again, or the median test loss where the choice is made on validation. Trials without a result
    are infinite in both.
    """
    names = _names(study)
    counts = Counter((problem, names[problem, label]) for problem, label in study.cells)
    nothing = np.full(len(study.trials), np.nan)
    own, test, loss = (study.last.get(name, nothing) for name in (study.question.loss, "test_loss", "loss"))
    spent, hypers, plain = (study.trials[name].to_numpy() for name in ("passes", "hyper", "plain"))

    def median(values: Array, cell: np.ndarray) -> float:
        return cell_median(values[cell], study.no_result[cell])

    rows = []
    for (problem, label), cell in study.cells.items():
        if counts[problem, names[problem, label]] < MIN_SETTINGS:
            continue
        tested = study.question != TRAINING and not np.isnan(test[cell]).all()
        rows.append(
            {"problem": problem, "optimizer": names[problem, label], "label": plain[cell[0]]}
            | {"rate": rate(hypers[cell[0]])}
            | {"other_settings": other_settings(hypers[cell[0]])}
            | {"select": median(own, cell), "value": median(test if tested else own, cell)}
            | {"selected_on": study.question.name, "reported_on": "test" if tested else study.question.name}
            | {"score": float(np.mean(study.score[cell]))}
            | {"final": median(loss, cell), "passes": float(np.nansum(spent[cell].astype(float)))}
            | {"no_result": int(study.no_result[cell].sum()), "trials": len(cell)}
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


def rate(hyper: Any) -> float:
    given = hyper if isinstance(hyper, dict) else {}
    return next((float(given[name]) for name in RATES if isinstance(given.get(name), int | float)), math.nan)


def other_settings(hyper: Any) -> str:
    """The settings apart from the learning rate, as text: runs that differ in them lie on different lines."""
    given = hyper if isinstance(hyper, dict) else {}
    return ",".join(f"{name}={value}" for name, value in sorted(given.items()) if name not in RATES)


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


def score_by_cost(table: pd.DataFrame) -> pd.DataFrame:
    """Expected score with the best of k settings by `select`, and the passes a seed that trying k costs.

    A row an (optimizer, k). Both are means over the problems that state targets, those where the same k was tried.
    """
    rows: list[dict[str, Any]] = []
    scored = table[table["score"].notna()] if len(table) else table
    for optimizer, own in scored.groupby("optimizer", sort=False) if len(scored) else ():
        parts = [part for _problem, part in own.groupby("problem", sort=False)]
        most = min(map(len, parts))
        expected = np.mean([best_of(part["select"], part["score"])[:most] for part in parts], axis=0)
        each = np.mean([float((part["passes"] / part["trials"]).mean()) for part in parts])
        rows += [
            {"optimizer": optimizer, "k": k, "score": float(score), "passes": float(k * each), "problems": len(parts)}
            for k, score in enumerate(expected, 1)
        ]
    return pd.DataFrame(rows)


def rated(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `settings` with a learning rate, of optimizers that tried enough rates on a problem, by rate."""
    if not len(table):
        return table
    found = table[table["rate"] > 0].sort_values("rate", kind="stable")
    return found[found.groupby(["problem", "optimizer"])["rate"].transform("nunique") >= MIN_SETTINGS]
