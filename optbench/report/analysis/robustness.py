"""How the order of the optimizers changes where a report might have been made otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.statistics import Array, iqm

BUDGETS = (0.5, 0.1)  # shares of the budget that the order is looked at again with
MIN_UNITS = 3  # problems or groups from which leaving one out is a question


def orders(ranking: Ranking, otherwise: Ranking | None = None) -> pd.DataFrame:
    """The place of each ranked optimizer, 1 the best, in the report's order: by IQM, and as it might have been.

    Columns: `iqm`, `mean` (the mean in place of the IQM), `budget_0.5` and so on (what a share of the budget reaches;
    the settings stay those chosen on the whole), `scored_otherwise` (the place in `otherwise`, a ranking of the same
    trials by the other rule for the point that stands for a trial at the budget), `without_best` and `without_worst`
    (the places that leaving out one problem or group can give it). Optimizers of the same score share the better place.
    """
    everything = _places({label: iqm(_all(ranking.scores[label])) for label in ranking.labels})
    columns = {"iqm": everything}
    columns["mean"] = _places({label: float(_all(ranking.scores[label]).mean()) for label in ranking.labels})
    for share in BUDGETS:
        columns[f"budget_{share:g}"] = _places(_at_share(ranking, share))
    if otherwise is not None:
        columns["scored_otherwise"] = _of_the_same(otherwise, ranking.labels)
    left_out = [*without(ranking).values()] or [everything]
    columns["without_best"] = {label: min(one[label] for one in left_out) for label in ranking.labels}
    columns["without_worst"] = {label: max(one[label] for one in left_out) for label in ranking.labels}
    table = pd.DataFrame(columns, index=ranking.order, dtype=int)
    return table.rename_axis("label").reset_index()


def without(ranking: Ranking) -> dict[str, dict[str, int]]:
    """{problem or group: the places without it}; empty for few of them."""
    if len(ranking.units) < MIN_UNITS:
        return {}
    kept = {unit: [other for other in ranking.units if other != unit] for unit in ranking.units}
    return {
        unit: _places({label: iqm(_all(_of(ranking.scores[label], rest))) for label in ranking.labels})
        for unit, rest in kept.items()
    }


def _at_share(ranking: Ranking, share: float) -> dict[str, float]:
    """The IQM of each ranked optimizer, had the budget been a share of what it was."""
    trials = ranking.study.trials
    less = replace(ranking.study, trials=trials.assign(budget=trials["budget"] * share))
    scores = Ranking(less, ranking.mixed).scores
    return {label: iqm(_all(scores[label])) for label in ranking.labels}


def _of_the_same(other: Ranking, labels: list[str]) -> dict[str, int]:
    """The places of these optimizers by the scores of another ranking of the same trials."""
    return _places({label: iqm(_all(other.scores[label])) for label in labels})


def _of(scores: Mapping[str, Array], units: list[str]) -> dict[str, Array]:
    return {unit: scores[unit] for unit in units if unit in scores}


def _all(scores: Mapping[str, Array]) -> Array:
    return np.concatenate([*scores.values()]) if scores else np.zeros(1)


def _places(score: Mapping[str, float]) -> dict[str, int]:
    """1 for the highest score; one more than the number of higher ones for the others."""
    return {label: 1 + sum(other > own for other in score.values()) for label, own in score.items()}
