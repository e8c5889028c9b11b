"""From the settings that were tried to one competitor an optimizer: chosen on what is scored, seed by seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from optbench.report.analysis.question import TRAINING
from optbench.report.analysis.statistics import Array, cell_median
from optbench.report.analysis.study import Study

SAME = 1e-6  # of the way from start to best: training losses that differ by less are told apart by the anytime score
_COLUMNS = (
    *("problem", "label", "tried", "chosen", "seeds", "selected_on", "select", "test_loss", "training_loss"),
    *("no_result", "trials", "passes", "times"),
)


class Selection(NamedTuple):
    """What was chosen.

    study: every tuned optimizer is one label. table: a row a (problem, tuned optimizer).
    chosen: (trials,) which trials of the study with all settings are reported; None where nothing was tuned.
    """

    study: Study
    table: pd.DataFrame
    chosen: np.ndarray | None = None


def select(study: Study) -> Selection:
    """The competitors of a study that holds all settings.

    A seed is reported with the setting that does best on the *other* seeds, so that no seed speaks for the setting it
    is reported with: among equal settings the luckiest would win otherwise. One seed alone has to choose for itself.
    Test data choose nothing.
    """
    tuned = np.flatnonzero((study.trials["competitor"] != study.trials["label"]).to_numpy())
    if not len(tuned):
        return Selection(study, pd.DataFrame(columns=[*_COLUMNS]))
    given = set(np.flatnonzero(study.trials["given"].to_numpy()))
    names = study.trials["competitor"].to_numpy()
    entered: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for (problem, label), rows in study.cells.items():
        entered.setdefault((problem, names[rows[0]]), {})[label] = rows
    kept, labels, table = [], [], []
    by, row = merit(study), _Row(study)
    seeds, score = study.trials["seed"].to_numpy(), np.nan_to_num(study.score)
    for (problem, name), by_label in entered.items():
        alone = name in by_label
        every = [*by_label.values()]
        rows = np.concatenate(every) if alone else _chosen(seeds, by, score, every)
        kept.append(rows)
        labels += [name] * len(rows)
        if not alone:
            table.append({"problem": problem, "label": name} | row.of(every, rows))
            for label, cell in by_label.items():
                if given & set(cell):  # a setting that was asked for by itself, too
                    kept.append(cell)
                    labels += [label] * len(cell)
    rows = np.concatenate(kept)
    reported = np.isin(np.arange(len(study.trials)), rows)
    return Selection(study.of(rows, labels), pd.DataFrame(table, columns=[*_COLUMNS]), reported)


def merit(study: Study) -> Array:
    """What a setting is chosen by, (trials,), the lower the better: the loss that the question scores, at the end."""
    left = study.trials["left"].to_numpy(dtype=float)
    final = study.trials["final"].to_numpy(dtype=float)
    floor = SAME if study.question == TRAINING else -np.inf
    return np.where(np.isnan(left), final, np.where(left < floor, floor, left))


def _chosen(seeds: np.ndarray, by: Array, score: Array, settings: Sequence[np.ndarray]) -> np.ndarray:
    """A row of `trials` a seed, from the rows of each setting; ties go to the setting that comes first.

    seeds, by, score: (trials,) each. `by` is what decides; the higher score tells apart those that tie.
    """
    every = np.unique(seeds[np.concatenate(settings)])
    rows = np.full((len(settings), len(every)), -1)  # of `trials`, -1 where a setting lacks a seed
    for k, own in enumerate(settings):
        rows[k, np.searchsorted(every, seeds[own])] = own
    loss, good = _middle_of_others(by, rows, "median"), _middle_of_others(score, rows, "mean")
    first = [np.lexsort((-good[:, k], loss[:, k], rows[:, k] < 0))[0] for k in range(len(every))]
    return rows[first, np.arange(len(every))]


def _middle_of_others(values: Array, rows: np.ndarray, middle: str) -> Array:
    """(settings, seeds) of each setting over its other seeds; of its own seed, where it has one alone.

    values: (trials,) without NaN. rows: (settings, seeds) of `values`, -1 where a setting lacks a seed.
    middle: "median" or "mean".
    """
    n = rows.shape[1]
    others = np.array([[j for j in range(n) if j != k] or [k] for k in range(n)])
    present = rows >= 0
    found = np.where(present, values[rows], np.nan)
    part = np.where(present.sum(axis=1)[:, None, None] > 1, found[:, others], found[:, :, None])
    part = np.where(np.isnan(part).all(axis=-1, keepdims=True), np.inf, part)
    return np.asarray(getattr(np, middle if present.all() else f"nan{middle}")(part, axis=-1))


class _Row:
    """The table of choices, row by row, from columns that are taken out of the study once."""

    def __init__(self, study: Study) -> None:
        self.question = study.question.name
        self.no_result, self.test = study.no_result, study.last.get("test_loss")
        self.final, self.spent = (study.trials[name].to_numpy(dtype=float) for name in ("final", "passes"))
        self.training = np.where(study.no_result, np.inf, study.last["loss"])
        self.plain = study.trials["plain"].to_numpy()

    def of(self, settings: Sequence[np.ndarray], rows: np.ndarray) -> dict[str, Any]:
        """What was tried, what was chosen how often, what that reached and what the trying cost."""
        tried = np.concatenate(settings)
        names = (str(name) for name in self.plain[rows])  # of the settings alone: whose they are stands beside
        counts = Counter(name.partition("[")[2].removesuffix("]") or name for name in names)
        reported, total = (float(np.nansum(self.spent[which])) for which in (rows, tried))
        return {
            "tried": len(settings),
            "chosen": "; ".join(
                f"{label} ({count})" if len(counts) > 1 else label for label, count in counts.most_common()
            ),
            "seeds": len(rows),
            "selected_on": self.question,
            "select": float(np.median(self.final[rows])),
            "test_loss": math.nan if self.test is None else _test_median(self.test[rows], self.no_result[rows]),
            "training_loss": float(np.median(self.training[rows])),
            "no_result": int(self.no_result[tried].sum()),
            "trials": len(tried),
            "passes": total,
            "times": total / reported if reported else math.nan,
        }


def _test_median(values: Array, no_result: np.ndarray) -> float:
    """The median over seeds; NaN where the problem has no such value."""
    return math.nan if np.isnan(values[~no_result]).all() else cell_median(values, no_result)
