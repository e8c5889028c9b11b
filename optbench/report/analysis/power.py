"""What difference between two optimizers this study could have found, and how many problems a smaller one takes.

The differences of a pair over problems are taken as normal, with the standard deviation that was seen; the mean that
was seen plays no part, for power computed from it only restates p (Hoenig & Heisey 2001). A claim needs Wilcoxon's test
at Holm's first step, and the difference beyond what counts as equal to be visible to a one-sided test.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pandas as pd
import scipy

from optbench.report.analysis.ranking import MIN_POSTERIOR, ROPE, Ranking
from optbench.report.analysis.statistics import Array, signed_rank_law

POWER = 0.8
DRAWS = 4000  # simulated sets of differences: the power is known to within 0.007
MAX_EFFECT = 20.0  # standard deviations
EFFICIENCY = 3 / math.pi  # of the signed-rank test against the t-test on normal differences


@cache
def effect(n: int, alpha: float, power: float = POWER) -> float:
    """The mean, in standard deviations, at which the two-sided signed-rank test of n normal differences has this power.

    alpha: the level. Infinite where no n differences can pass the test.
    """
    sums = np.arange(n * (n + 1) // 2 + 1)
    passes = sums[2 * np.minimum(signed_rank_law(n), signed_rank_law(n)[::-1]) < alpha]
    if not len(passes):
        return math.inf
    drawn = np.random.default_rng([n, DRAWS]).standard_normal((DRAWS, n))
    reach = np.zeros(len(sums), dtype=bool)
    reach[passes] = True
    low, high = 0.0, MAX_EFFECT
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _share(drawn + middle, reach) >= power else (middle, high)
    return 0.5 * (low + high)


def _share(differences: Array, passes: np.ndarray) -> float:
    """The share of rows whose sum of positive ranks passes."""
    ranks = np.argsort(np.argsort(np.abs(differences), axis=1), axis=1) + 1
    return float(passes[(ranks * (differences > 0)).sum(axis=1)].mean())


def detectable(n: int, spread: float, alpha: float, pairs: int, power: float = POWER) -> float:
    """The true mean difference of scores of one pair that would have been claimed with this power, or a little more.

    spread: the standard deviation of the difference over problems. alpha: the level, shared by so many `pairs`.
    """
    tested = effect(n, alpha / pairs, power) * spread
    practical = ROPE + effect(n, 2 * (1 - MIN_POSTERIOR), power) * spread
    return max(tested, practical)


def problems_needed(difference: float, spread: float, alpha: float, pairs: int, power: float = POWER) -> float:
    """Problems at which a true difference of this size would be claimed with this power, by the normal approximation.

    Infinite within the region of practical equivalence.
    """
    beyond, needed = abs(difference) - ROPE, scipy.stats.norm.ppf(power)
    if beyond <= 0:
        return math.inf
    tested = (scipy.stats.norm.ppf(1 - alpha / pairs / 2) + needed) * spread / abs(difference)
    practical = (scipy.stats.norm.ppf(MIN_POSTERIOR) + needed) * spread / beyond
    return float(max(math.ceil(max(tested, practical) ** 2 / EFFICIENCY), _fewest(alpha / pairs)))


def _fewest(alpha: float) -> int:
    """The fewest differences that can pass the test at a level."""
    return math.floor(1 - math.log2(alpha)) + 1


def power(ranking: Ranking) -> pd.DataFrame:
    """A row a pair of the leader with another ranked optimizer.

    Columns: first, second, problems, difference (of mean scores, as seen), spread (its standard deviation over
    problems), detectable (the true difference that would have been claimed with a probability of at least POWER),
    problems_needed (to claim the difference that was seen), claim.
    """
    rows = []
    pairs = max(len(ranking.adjusted) // 2, 1)
    for other in ranking.order[1:]:
        first = ranking.order[0]
        seen: Array = (ranking.means[first] - ranking.means[other]).dropna().to_numpy(dtype=float)
        if len(seen) < 2:
            continue
        mean, spread = float(seen.mean()), float(seen.std(ddof=1))
        rows.append(
            {"first": first, "second": other, "problems": len(seen), "difference": mean, "spread": spread}
            | {"detectable": detectable(len(seen), spread, ranking.study.alpha, pairs)}
            | {"problems_needed": problems_needed(mean, spread, ranking.study.alpha, pairs)}
            | {"claim": ranking.claim(first, other)}
        )
    columns = ["first", "second", "problems", "difference", "spread", "detectable", "problems_needed", "claim"]
    return pd.DataFrame(rows, columns=columns)
