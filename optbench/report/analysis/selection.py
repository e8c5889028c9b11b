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
    by = merit(study)
    for (problem, name), by_label in entered.items():
        alone = name in by_label
        every = [*by_label.values()]
        rows = np.concatenate(every) if alone else _chosen(study, by, every)
        kept.append(rows)
        labels += [name] * len(rows)
        if not alone:
            table.append({"problem": problem, "label": name} | _row(study, every, rows))
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


def _chosen(study: Study, by: Array, settings: Sequence[np.ndarray]) -> np.ndarray:
    """A row of `trials` a seed, from the rows of each setting."""
    seeds = study.trials["seed"].to_numpy()
    score = np.nan_to_num(study.score)
    found = []
    for seed in sorted({seed for rows in settings for seed in seeds[rows]}):
        best: tuple[float, float, int] | None = None
        for rows in settings:
            own = rows[seeds[rows] == seed]
            rest = rows[seeds[rows] != seed] if len(rows) > len(own) else rows
            if len(own) and len(rest):
                rank = (float(np.median(by[rest])), -float(score[rest].mean()), int(own[0]))
                best = rank if best is None or rank[:2] < best[:2] else best
        if best is not None:
            found.append(best[2])
    return np.array(found, dtype=int)


def _row(study: Study, settings: Sequence[np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    """What was tried, what was chosen how often, what that reached and what the trying cost."""
    final = study.trials["final"].to_numpy(dtype=float)
    tried = np.concatenate(settings)
    names = (str(name) for name in study.trials["plain"].to_numpy()[rows])
    counts = Counter(name.partition("[")[2].removesuffix("]") or name for name in names)  # whose it is stands beside
    spent = study.trials["passes"].to_numpy(dtype=float)
    reported = float(np.nansum(spent[rows]))
    total = float(np.nansum(spent[tried]))
    test = study.last.get("test_loss")
    return {
        "tried": len(settings),
        "chosen": "; ".join(
            f"{label} ({count})" if len(counts) > 1 else label for label, count in counts.most_common()
        ),
        "seeds": len(rows),
        "selected_on": study.question.name,
        "select": float(np.median(final[rows])),
        "test_loss": math.nan if test is None else _test_median(test[rows], study.no_result[rows]),
        "training_loss": float(np.median(np.where(study.no_result, np.inf, study.last["loss"])[rows])),
        "no_result": int(study.no_result[tried].sum()),
        "trials": len(tried),
        "passes": total,
        "times": total / reported if reported else math.nan,
    }


def _test_median(values: Array, no_result: np.ndarray) -> float:
    """The median over seeds; NaN where the problem has no such value."""
    return math.nan if np.isnan(values[~no_result]).all() else cell_median(values, no_result)
