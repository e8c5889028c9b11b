"""Statistics over trials, cells and problems. Infinite cost is a value here: a failure is worst, never absent."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the interval around it, and the probability the interval was built for."""

    estimate: float
    low: float
    high: float
    level: float


@cache
def _order(n: int, level: float) -> tuple[int, float]:
    """The rank k (from 0) where [x_k, x_(n-1-k)] covers the median with probability >= level; that probability."""
    rank = 0
    while 2 * stats.binom.cdf(rank, n, 0.5) <= 1 - level and 2 * (rank + 1) < n:
        rank += 1
    rank = max(rank - 1, 0)
    return rank, float(1 - 2 * stats.binom.cdf(rank, n, 0.5)) if n > 1 else 0.0


def coverage(n: int, level: float = 0.95) -> float:
    """The probability that the interval which `median_interval` gives for n values covers the median."""
    return _order(n, level)[1]


def median_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """The median of n numbers with the exact sign-test interval (order statistics; Conover 1999, section 3.2).

    It needs no finite values, so failures enter as infinity. With n < 6 no interval reaches 95 %: the whole range is
    given, with the coverage it has (n = 5: 93.75 %; n = 1: none). NaN counts as infinity. Raises ValueError for n = 0.
    """
    low, middle, high, reached = median_intervals(np.atleast_2d(np.asarray(values, dtype=float)), level)
    return Interval(float(middle[0]), float(low[0]), float(high[0]), reached)


def median_intervals(values: Array, level: float = 0.95) -> tuple[Array, Array, Array, float]:
    """(low, median, high, coverage) along the last axis of (..., n), as `median_interval`."""
    n = values.shape[-1]
    if n == 0:
        raise ValueError("the median of no values")
    ordered = np.sort(np.where(np.isnan(values), np.inf, values), axis=-1)
    rank, reached = _order(n, level)
    a, b = ordered[..., (n - 1) // 2], ordered[..., n // 2]
    middle = np.where(a == b, a, 0.5 * (a + b))
    return ordered[..., rank], middle, ordered[..., n - 1 - rank], reached


def expected_cost(costs: npt.ArrayLike, granted: npt.ArrayLike) -> float:
    """Expected running time to a target (Hansen et al. 2010): total cost over successes; infinite without a success.

    costs: what each trial spent until its first hit, infinite where it missed. granted: each trial's budget, which is
    what a miss is charged, however early it gave up, so that nobody gains by failing fast.
    """
    cost, budget = np.broadcast_arrays(np.asarray(costs, dtype=float), np.asarray(granted, dtype=float))
    hit = np.isfinite(cost)
    if not hit.any():
        return float("inf")
    return float((cost[hit].sum() + budget[~hit].sum()) / hit.sum())
