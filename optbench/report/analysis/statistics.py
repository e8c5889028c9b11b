"""Statistics over trials, cells and problems. Infinite cost is a value here: a failure is worst, never absent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported as they are used: scipy.stats takes half a second

MAX_EXACT = 50  # differences up to which the signed-rank test is exact
MAX_PERMUTATIONS = 20_000  # of an exact rank-sum test: ten seeds against six, or nine against seven
MAX_DRAWN = 2**23  # numbers of a bootstrap that are held at a time: 64 MiB
Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the interval around it, and the probability the interval was built for."""

    estimate: float
    low: float
    high: float
    level: float


def ranks(values: Array) -> Array:
    """(..., n) -> ranks along the last axis, from 1; equal values share the mean of theirs."""
    smaller = (values[..., None, :] < values[..., :, None]).sum(-1)
    equal = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(smaller + (equal + 1) / 2)


def _below(rank: int, n: int) -> float:
    """The probability of at most `rank` heads in n throws."""
    return float(scipy.special.bdtr(rank, n, 0.5))


@cache
def _order(n: int, level: float) -> tuple[int, float]:
    """The rank k (from 0) where [x_k, x_(n-1-k)] covers the median with probability >= level; that probability."""
    rank = 0
    while 2 * _below(rank, n) <= 1 - level and 2 * (rank + 1) < n:
        rank += 1
    rank = max(rank - 1, 0)
    return rank, float(1 - 2 * _below(rank, n)) if n > 1 else 0.0


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


def cell_median(values: npt.ArrayLike, no_result: npt.ArrayLike, worst: float = math.inf) -> float:
    """The median of a cell, in which a trial without a result, or without a value, counts as `worst`.

    values, no_result: (n,) each, n at least 1. worst: infinity, or minus infinity where higher is better.
    """
    value = np.asarray(values, dtype=float)
    return float(np.median(np.where(np.asarray(no_result) | np.isnan(value), worst, value)))


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


def anytime_score(costs: Array, budgets: npt.ArrayLike) -> Array:
    """(..., targets) costs -> (...) scores in [0, 1]: the area under the share of targets hit, over log cost.

    Each target contributes 1 - log(cost) / log(budget), costs counted from one pass on; a miss contributes 0. So 1 is
    every target within the first pass, 0 is none by the budget: finite and worst for failures, and a function of the
    trial alone. Averaged over trials it is the area under their ECDF of (problem, target, seed).
    """
    budget = np.maximum(np.asarray(budgets, dtype=float), 1.0 + 1e-9)[..., None]
    part = 1.0 - np.log(np.maximum(costs, 1.0)) / np.log(budget)
    return np.asarray(np.where(np.isfinite(costs), np.clip(part, 0.0, 1.0), 0.0).mean(axis=-1))


def iqm(values: npt.ArrayLike) -> float:
    """The interquartile mean: a quarter trimmed at each end (Agarwal et al. 2021)."""
    flat = np.asarray(values, dtype=float).ravel()
    low = int(0.25 * len(flat))  # as scipy.stats.trim_mean
    return float(np.mean(np.partition(flat, (low, len(flat) - low - 1))[low : len(flat) - low]))


def iqm_interval(
    strata: Sequence[npt.ArrayLike], rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """The IQM over all values with a stratified bootstrap percentile interval: seeds are redrawn within each problem.

    strata: one array of seeds a problem. With one value a stratum there is nothing to redraw: the level is then 0.
    """
    groups = [np.asarray(values, dtype=float) for values in strata]
    whole = np.concatenate(groups)
    if all(len(values) < 2 for values in groups):
        return Interval(iqm(whole), math.nan, math.nan, 0.0)
    rows = max(1, MAX_DRAWN // len(whole))
    means = np.concatenate([_trimmed_means(groups, min(rows, resamples - at), rng) for at in range(0, resamples, rows)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(iqm(whole), float(low), float(high), level)


def _trimmed_means(groups: Sequence[Array], resamples: int, rng: np.random.Generator) -> Array:
    """The IQMs of so many draws of all values, as many from each group as it has."""
    drawn = np.concatenate([values[rng.integers(len(values), size=(resamples, len(values)))] for values in groups], 1)
    cut = int(0.25 * drawn.shape[1])
    drawn.sort(axis=1)
    return np.asarray(drawn[:, cut : drawn.shape[1] - cut].mean(axis=1))


def superiority(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """P(a draw of `a` is below a draw of `b`), ties half: the Mann-Whitney probability. Two infinities tie."""
    x, y = np.asarray(a, dtype=float)[:, None], np.asarray(b, dtype=float)[None, :]
    return float(((x < y) + 0.5 * (x == y)).mean())


def improvement(
    a: Sequence[npt.ArrayLike],
    b: Sequence[npt.ArrayLike],
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 1000,
) -> Interval:
    """Probability of improvement (Agarwal et al. 2021): `superiority` of a (lower is better), averaged over problems.

    a, b: one array of losses a problem, in the same order. The interval redraws seeds within each problem.
    seed: of the redrawing, the same for every pair with as many losses.
    """
    sizes = tuple((len(np.atleast_1d(x)), len(np.atleast_1d(y))) for x, y in zip(a, b, strict=True))
    means = np.zeros(resamples)
    estimate = 0.0
    for x, y, (p, q) in zip(a, b, _redrawn(sizes, seed, resamples), strict=True):
        left, right = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        wins = (left[:, None] < right[None, :]) + 0.5 * (left[:, None] == right[None, :])
        estimate += float(wins.mean()) / len(a)
        # How often each value is drawn is all that a resample changes: counts @ wins @ counts.
        means += ((p @ wins) * q).sum(axis=1) / (len(left) * len(right) * len(a))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    known = level if max(len(np.atleast_1d(x)) for x in (*a, *b)) > 1 else 0.0
    return Interval(estimate, float(low), float(high), known)


@lru_cache(maxsize=32)
def _redrawn(sizes: tuple[tuple[int, int], ...], seed: int, resamples: int) -> list[tuple[Array, Array]]:
    """How often each value of either side is drawn, (resamples, values) each, problem by problem."""
    rng = np.random.default_rng(seed)

    def counts(n: int) -> Array:
        return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)

    return [(counts(left), counts(right)) for left, right in sizes]


def ecdf(costs: npt.ArrayLike) -> tuple[Array, Array]:
    """(cost, share): the share of all (problem, target, seed) hit by each finite cost, misses in the denominator."""
    whole = np.asarray(costs, dtype=float).ravel()
    hit, counts = np.unique(whole[np.isfinite(whole)], return_counts=True)
    return hit, np.cumsum(counts) / max(len(whole), 1)


def profile(costs: Array) -> Array:
    """Dolan & More (2002) performance ratios: (instances, optimizers) costs over the least of each instance.

    Infinite where an optimizer failed, and everywhere on an instance that nobody solved. NaN counts as infinite.
    """
    cost = np.where(np.isnan(costs), np.inf, costs)
    least = cost.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(cost == least, 1.0, cost / least)
    return np.where(np.isfinite(cost), ratio, np.inf)


def mean_ranks(scores: Array) -> Array:
    """(problems, optimizers) scores, higher is better -> mean rank of each optimizer, 1 the best, ties shared."""
    return np.asarray(ranks(-scores).mean(axis=0))


def friedman(scores: Array) -> float:
    """p of Friedman's test that all optimizers (columns) rank alike over problems (rows); 1 where it says nothing."""
    problems, optimizers = scores.shape
    ordered = ranks(scores)
    if problems < 2 or optimizers < 2 or (ordered == ordered[:, :1]).all():
        return 1.0
    if optimizers == 2:
        return signed_rank(scores[:, 0] - scores[:, 1])
    return float(scipy.stats.friedmanchisquare(*scores.T).pvalue)


def signed_rank(differences: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test, exact where it can be, zeros split evenly (Pratt); 1 for no data."""
    d = np.asarray(differences, dtype=float)
    if not len(d) or not d.any():
        return 1.0
    exact = len(d) <= MAX_EXACT and d.all() and len(np.unique(np.abs(d))) == len(d)
    method: Literal["exact", "approx"] = "exact" if exact else "approx"
    return float(scipy.stats.wilcoxon(d, zero_method="pratt", method=method, correction=not exact).pvalue)


@cache
def signed_rank_law(n: int) -> Array:
    """The chance that a sum of the ranks 1 to n, each there or not, is at most 0, 1, 2, ..., n (n + 1) / 2."""
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        counts[rank:] += counts[: len(counts) - rank].copy()
    return np.asarray(np.cumsum(counts) / 2.0**n)


def signed_ranks(differences: Array) -> Array:
    """(n, pairs) -> (pairs,) `signed_rank` of every column, all at once where it is exact."""
    n = len(differences)
    if not n:
        return np.ones(differences.shape[1])
    size = np.sort(np.abs(differences), axis=0)
    exact = (size[0] > 0) & (np.diff(size, axis=0) > 0).all(axis=0) & (n <= MAX_EXACT)
    ranks = np.argsort(np.argsort(np.abs(differences), axis=0), axis=0) + 1
    up = (ranks * (differences > 0)).sum(axis=0)
    below = signed_rank_law(n)
    tails = np.minimum(below[up], below[n * (n + 1) // 2 - up])  # the law is symmetric
    p = np.minimum(2 * tails, 1.0)
    p[~size.any(axis=0)] = 1.0
    if (rest := ~exact & size.any(axis=0)).any():
        how: dict[str, Any] = {"zero_method": "pratt", "method": "approx", "correction": True}
        p[rest] = scipy.stats.wilcoxon(differences[:, rest], **how).pvalue
    return np.asarray(p)


def rank_sum(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Two-sided p of the rank-sum test (Wilcoxon; Mann & Whitney 1947) of two samples; infinities tie.

    Exact given the ties (all permutations) for up to MAX_PERMUTATIONS of them, else the normal approximation with the
    correction for ties. 1 where a side has fewer than two values, or all values are equal.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if min(len(x), len(y)) < 2 or len(np.unique(np.concatenate([x, y]))) == 1:
        return 1.0
    placed = ranks(np.concatenate([x, y]))  # finite values in the same order, so that nothing subtracts inf
    left, right = placed[: len(x)], placed[len(x) :]
    if math.comb(len(placed), len(x)) <= MAX_PERMUTATIONS:
        method: Any = scipy.stats.PermutationMethod(n_resamples=MAX_PERMUTATIONS)
    else:
        method = "asymptotic"
    return min(1.0, float(scipy.stats.mannwhitneyu(left, right, alternative="two-sided", method=method).pvalue))


def holm(p_values: npt.ArrayLike) -> Array:
    """Holm's (1979) adjusted p-values: the chance of one false claim among all stays below the level."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


class Posterior(NamedTuple):
    """Probabilities that the first is practically better, that the two are equivalent, that the second is better."""

    better: float
    same: float
    worse: float


def dirichlet(n: int, rng: np.random.Generator, draws: int, prior: float = 0.5) -> Array:
    """(draws, n + 1) posterior weights of the pseudo-observation and of n differences, whatever these are."""
    return rng.dirichlet(np.concatenate([[prior], np.ones(n)]), size=draws)


def signed_rank_posterior(differences: npt.ArrayLike, rope: float, weights: Array) -> Posterior:
    """Bayesian signed-rank test with a region of practical equivalence (Benavoli et al. 2014, 2017).

    differences: (n,) first minus second, one a problem, higher is better. rope: half the width of the region.
    weights: (draws, n + 1) from `dirichlet(n, ...)`; many pairs of as many problems can share them. The prior is a
    Dirichlet process with one pseudo-observation at zero; each probability is the share of posterior draws in which
    that region holds the most mass.
    """
    z = np.concatenate([[0.0], np.asarray(differences, dtype=float)])
    walsh = z[:, None] + z[None, :]
    above = ((weights @ np.heaviside(walsh - 2 * rope, 0.5)) * weights).sum(axis=1)
    below = ((weights @ np.heaviside(-walsh - 2 * rope, 0.5)) * weights).sum(axis=1)
    most = np.argmax(np.stack([1.0 - above - below, above, below]), axis=0)
    same, better, worse = np.bincount(most, minlength=3) / len(weights)
    return Posterior(float(better), float(same), float(worse))


def welch_worse(before: npt.ArrayLike, after: npt.ArrayLike, floor: float) -> float:
    """One-sided p of Welch's test that `after` is lower than `before` (higher is better).

    floor: a standard deviation added to both sides, so that values that are equal by rounding or by a shared
    checkpoint do not pass for certainty.
    """
    a, b = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if len(a) < 2 or len(b) < 2:
        return 1.0
    va, vb = ((x.var(ddof=1) + floor**2) / len(x) for x in (a, b))
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return float(scipy.stats.t.sf((a.mean() - b.mean()) / math.sqrt(va + vb), freedom))


def best_of(validation: npt.ArrayLike, test: npt.ArrayLike) -> Array:
    """Expected test value of the setting that validates best among k drawn without replacement, k = 1..m.

    (m,) validation and test losses -> (m,). Exact (Dodge et al. 2019, without replacement). A setting that
    failed is infinite, and so is the expectation for every k at which one may be chosen.
    """
    order = np.argsort(np.asarray(validation, dtype=float), kind="stable")
    value = np.asarray(test, dtype=float)[order]
    m = len(value)
    out = np.empty(m)
    for k in range(1, m + 1):
        chance = np.array([math.comb(m - 1 - r, k - 1) / math.comb(m, k) for r in range(m)])
        out[k - 1] = (chance[chance > 0] * value[chance > 0]).sum()
    return out
