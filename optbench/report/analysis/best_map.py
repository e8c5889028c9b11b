"""Who is best for what: for each kind of problem and budget, the best optimizer and those not told apart from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optbench.report.analysis import kinds
from optbench.report.analysis.ranking import MIN_APPLIES, NOT_COUNTED, NOT_TUNED, Ranking, units
from optbench.report.analysis.statistics import Array, iqm, rank_sum

MAX_COLUMNS = 4  # budgets of the map


@dataclass(frozen=True)
class Best:
    """One field of the map. leaders: the best first, then those not told apart from it; empty: nobody hit a target.

    score: of the best. limit: the budget in passes, infinite for the whole. others: optimizers told apart.
    """

    leaders: Sequence[str]
    score: float
    limit: float
    others: int


@dataclass(frozen=True)
class Row:
    """One kind or size of problem. fields: None where all its budgets end before."""

    name: str
    problems: Sequence[str]
    fields: Sequence[Best | None]


def best_map(ranking: Ranking) -> tuple[list[float], list[Row]]:
    """The budgets in passes, infinite for the whole, and a row a kind of problem with a field for each of them.

    An optimizer takes part where it applies to half of the problems of the row. The claim of a field is on its
    own problems: seeds are the unit (rank-sum test of the means over problems, times the number of pairs of the field).
    """
    study = ranking.study
    budget = {p: float(study.trials["budget"].to_numpy()[study.place == k].max()) for k, p in enumerate(study.problems)}
    scored = [p for p in study.problems if any(math.isfinite(study.target(p, tau)) for tau in study.taus)]
    limits = columns([budget[p] for p in scored])
    if not ranking.labels or not scored:
        return limits, []
    at = {limit: scores_within(ranking, limit) for limit in limits}
    rows = []
    for name, problems in kinds.rows(scored, study.facts).items():
        most = max(budget[p] for p in problems)
        fields = [
            best(ranking, at[limit], problems, limit) if limit < most or math.isinf(limit) else None for limit in limits
        ]
        rows.append(Row(name, problems, fields))
    return limits, rows


def columns(budgets: Sequence[float]) -> list[float]:
    """Powers of ten from 10 on below the largest budget, the last of them, and the whole."""
    most = max(budgets, default=1.0)
    powers = [10.0**k for k in range(1, 16) if 10.0**k < most]
    return [*powers[-(MAX_COLUMNS - 1) :], math.inf]


def scores_within(ranking: Ranking, limit: float) -> Array:
    """(trials,) anytime scores had every budget been at most `limit` passes; settings stay those that were chosen."""
    trials = ranking.study.trials
    return replace(ranking.study, trials=trials.assign(budget=np.minimum(trials["budget"], limit))).score


def best(ranking: Ranking, score: Array, problems: Sequence[str], limit: float = math.inf) -> Best:
    """The best on some problems by IQM of a score, and those that the seeds do not tell from it.

    One that applies to too few of all problems to be ranked may be the best of those that it was made for.
    """
    study = ranking.study
    grouped = units(problems, study.groups)
    by_label: dict[str, list[Array]] = {}
    for label in study.labels:
        if ranking.apart.get(label) in (NOT_TUNED, NOT_COUNTED):
            continue
        planned = [p for p in problems if (p, label) in study.cells]
        if not planned or sum(study.applies(p, label) for p in planned) < MIN_APPLIES * len(planned):
            continue
        cells = {p: _known(score[study.cells[p, label]]) for p in planned}
        cells = {p: values for p, values in cells.items() if len(values)}
        values = [_by_seed([cells[p] for p in members if p in cells]) for members in grouped.values()]
        values = [found for found in values if len(found)]
        if any(found.any() for found in values):
            by_label[label] = values
    every = {label: np.concatenate(values) for label, values in by_label.items()}
    order = sorted(by_label, key=lambda label: (-iqm(every[label]), -float(every[label].mean())))  # as `Ranking.order`
    if not order:
        return Best([], 0.0, limit, 0)
    pairs = len(order) * (len(order) - 1) / 2
    means = {label: _by_seed(values) for label, values in by_label.items()}
    level = [label for label in order[1:] if rank_sum(means[order[0]], means[label]) * pairs >= ranking.study.alpha]
    return Best([order[0], *level], iqm(every[order[0]]), limit, len(order) - 1 - len(level))


def _known(values: Array) -> Array:
    """Those that are known: a split of the data may state no targets."""
    return values[~np.isnan(values)]


def _by_seed(scores: Sequence[Array]) -> Array:
    """(seeds,) means over problems, over the seeds that all of them have; empty without any problem."""
    if not scores:
        return np.zeros(0)
    seeds = min(map(len, scores))
    mean: Array = np.mean([values[:seeds] for values in scores], axis=0)
    return mean
