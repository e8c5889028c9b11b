"""Every statistic against an independent implementation or a hand-worked example."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, rankdata, trim_mean, ttest_ind

from optbench.report.analysis import statistics
from optbench.report.analysis.statistics import Array


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestMedianInterval:
    def test_ranks_of_the_table_in_conover(self) -> None:
        # n = 10 at 95 %: the second smallest and the second largest, covering 97.9 %.
        found = statistics.median_interval(np.arange(10.0))
        assert found[:3] == (4.5, 1.0, 8.0)
        assert found.level == pytest.approx(1 - 22 / 1024)

    def test_five_seeds_give_the_range_and_own_up_to_its_coverage(self) -> None:
        assert statistics.median_interval([5.0, 1.0, 3.0, 2.0, 4.0]) == (3.0, 1.0, 5.0, 0.9375)

    def test_one_seed_has_no_interval(self) -> None:
        assert statistics.median_interval([7.0]) == (7.0, 7.0, 7.0, 0.0)

    def test_failures_stay_and_move_the_median(self) -> None:
        assert statistics.median_interval([1.0, math.inf, math.inf]).estimate == math.inf
        assert statistics.median_interval([1.0, 2.0, math.nan]).estimate == 2.0
        assert statistics.median_interval([1.0, 2.0, math.nan]).high == math.inf

    def test_no_values(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            statistics.median_interval([])

    def test_coverage_holds_on_skewed_draws(self) -> None:
        draws = np.sort(rng().exponential(size=(4000, 12)), axis=1)
        low, _, high, level = statistics.median_intervals(draws)
        inside = ((low <= math.log(2)) & (math.log(2) <= high)).mean()
        assert inside == pytest.approx(level, abs=0.015)
        assert level >= 0.95


class TestCost:
    def test_ert_by_hand(self) -> None:
        # Two hits after 10 and 30, one miss that spent its budget of 100: (10 + 30 + 100) / 2.
        assert statistics.expected_cost([10.0, 30.0, math.inf], 100.0) == 70.0

    def test_ert_equals_cocos_definition_on_full_budgets(self) -> None:
        """COCO: the sum of evaluations until success or end, over the number of successes."""
        costs = np.where(rng(1).random(50) < 0.6, rng(2).integers(1, 100, 50), np.inf)
        evaluations, success = np.where(np.isfinite(costs), costs, 100.0), np.isfinite(costs)
        assert statistics.expected_cost(costs, 100.0) == pytest.approx(evaluations.sum() / success.sum())

    def test_giving_up_early_gains_nothing(self) -> None:
        """Trap: a failure that ends early is charged what it was granted, not the little that it used."""
        assert statistics.expected_cost([10.0, math.inf], [100.0, 100.0]) == 110.0

    def test_no_success_is_infinite(self) -> None:
        assert statistics.expected_cost([math.inf, math.inf], 50.0) == math.inf

    def test_ecdf_by_counting(self) -> None:
        cost, share = statistics.ecdf([[3.0, 1.0], [math.inf, 3.0]])
        assert cost.tolist() == [1.0, 3.0]
        assert share.tolist() == [0.25, 0.75]  # the miss stays in the denominator

    def test_score_is_the_area_under_the_ecdf(self) -> None:
        """By brute force: integrate the ECDF of one trial's targets over log cost from 1 to the budget."""
        costs = np.array([2.0, 17.0, math.inf, 60.0])
        grid = np.linspace(0, math.log(100), 200_001)
        area = (np.log(costs)[:, None] <= grid).mean(axis=0).mean()
        assert statistics.anytime_score(costs, 100.0) == pytest.approx(area, abs=1e-4)

    def test_score_of_failures_and_of_the_perfect(self) -> None:
        assert statistics.anytime_score(np.full(4, np.inf), 100.0) == 0.0
        assert statistics.anytime_score(np.zeros(4), 100.0) == 1.0


class TestProfile:
    def test_by_hand(self) -> None:
        ratios = statistics.profile(np.array([[10.0, 20.0], [30.0, math.inf], [math.inf, math.inf]]))
        assert ratios.tolist() == [[1.0, 2.0], [1.0, math.inf], [math.inf, math.inf]]

    def test_order_can_switch_when_a_third_enters(self) -> None:
        """Gould & Scott (2016): A leads B among three, and trails B when the two are alone, at the same ratio."""
        a = np.array([1.0, 1.0, 3.0, 3.0, 3.0])
        b = np.array([3.0, 3.0, 1.0, 1.0, 1.0])
        c = np.array([9.0, 9.0, 0.4, 0.4, 0.4])

        def within(*columns: Array) -> list[float]:
            shares = (statistics.profile(np.stack(columns, axis=1)) <= 2.0).mean(axis=0)
            return [float(share) for share in shares]

        assert within(a, b) == [0.4, 0.6]
        assert within(a, b, c)[:2] == [0.4, 0.0]


class TestAgainstOthers:
    def test_iqm_equals_rliable(self) -> None:
        metrics = pytest.importorskip("rliable.metrics")
        scores = rng(3).gamma(2.0, size=(10, 6))  # seeds x problems
        assert statistics.iqm(scores) == pytest.approx(metrics.aggregate_iqm(scores))

    def test_iqm_interval_equals_a_plain_stratified_bootstrap(self) -> None:
        """The loop of rliable's StratifiedBootstrap: seeds drawn anew for every problem, percentiles of the IQMs."""
        scores, stream = rng(3).gamma(2.0, size=(10, 6)), rng(1)
        means = []
        for _ in range(4000):
            drawn = np.stack([scores[stream.integers(10, size=10), task] for task in range(6)], axis=1)
            means.append(trim_mean(drawn, 0.25, axis=None))
        low, high = np.percentile(means, [2.5, 97.5])
        mine = statistics.iqm_interval(list(scores.T), rng(), resamples=4000)
        assert [mine.low, mine.high] == pytest.approx([low, high], abs=0.06 * (high - low))

    def test_a_bootstrap_of_many_trials_is_drawn_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """2,000 draws of 30,000 trials were a gigabyte; drawn in parts they are 64 MiB and as good."""
        scores = list(rng(3).gamma(2.0, size=(6, 500)))
        whole = statistics.iqm_interval(scores, rng(1))
        monkeypatch.setattr(statistics, "MAX_DRAWN", 300_000)  # parts of a hundred draws
        tracemalloc.start()
        parts = statistics.iqm_interval(scores, rng(1))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * 300_000 * 4
        assert [parts.low, parts.high] == pytest.approx([whole.low, whole.high], abs=0.06 * (whole.high - whole.low))
        assert (parts.low, parts.high) != (whole.low, whole.high)  # other draws, all of them

    def test_probability_of_improvement_equals_rliable(self) -> None:
        metrics = pytest.importorskip("rliable.metrics")
        x, y = rng(4).normal(size=(8, 5)), rng(5).normal(0.4, size=(8, 5))
        # rliable calls higher better, so "x is lower" is "-x is higher".
        expected = metrics.probability_of_improvement(-x, -y)
        assert statistics.improvement(list(x.T), list(y.T)).estimate == pytest.approx(expected)

    def test_probability_of_improvement_interval_equals_a_plain_bootstrap(self) -> None:
        x, y, stream = rng(4).normal(size=(8, 5)), rng(5).normal(0.4, size=(8, 5)), rng(2)
        means = []
        for _ in range(2000):
            a = np.stack([x[stream.integers(8, size=8), task] for task in range(5)], axis=1)
            b = np.stack([y[stream.integers(8, size=8), task] for task in range(5)], axis=1)
            means.append(np.mean([statistics.superiority(a[:, k], b[:, k]) for k in range(5)]))
        low, high = np.percentile(means, [2.5, 97.5])
        mine = statistics.improvement(list(x.T), list(y.T), resamples=4000)
        assert [mine.low, mine.high] == pytest.approx([low, high], abs=0.1 * (high - low))

    def test_bayesian_signed_rank_equals_baycomp(self) -> None:
        baycomp = pytest.importorskip("baycomp")
        for shift, rope in ((0.03, 0.02), (0.0, 0.05), (0.2, 0.02)):
            d = rng(6).normal(shift, 0.05, 12)
            left, same, right = baycomp.SignedRankTest.probs(
                np.zeros(12), d, rope=rope, nsamples=20_000, random_state=1
            )
            mine = statistics.signed_rank_posterior(d, rope, statistics.dirichlet(12, rng(), 40_000))
            assert mine == pytest.approx((right, same, left), abs=0.02)

    def test_friedman_and_wilcoxon_holm_equal_scikit_posthocs(self) -> None:
        posthocs = pytest.importorskip("scikit_posthocs")
        scores = rng(7).normal(size=(12, 4)) + np.array([0.0, 0.3, 0.8, 1.6])
        theirs = posthocs.posthoc_wilcoxon(list(scores.T), p_adjust="holm", zero_method="pratt").to_numpy()
        pairs = list(itertools.combinations(range(4), 2))
        mine = statistics.holm([statistics.signed_rank(scores[:, a] - scores[:, b]) for a, b in pairs])
        assert mine == pytest.approx([theirs[a, b] for a, b in pairs], abs=1e-9)

    def test_friedman_by_the_formula(self) -> None:
        scores = rng(8).normal(size=(9, 5))
        ranks = statistics.mean_ranks(scores)
        statistic = 12 * 9 / (5 * 6) * ((ranks - 3.0) ** 2).sum()
        assert statistics.friedman(scores) == pytest.approx(chi2.sf(statistic, 4))

    def test_holm_by_hand(self) -> None:
        assert statistics.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])

    def test_signed_rank_exact_by_enumeration(self) -> None:
        d = np.array([1.0, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
        ranks = np.arange(1, 8)
        seen = ranks[d > 0].sum()
        sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=7)])
        p = 2 * min((sums >= seen).mean(), (sums <= seen).mean())
        assert statistics.signed_rank(d) == pytest.approx(min(p, 1.0))

    def test_rank_sum_by_enumeration_with_ties_and_misses(self) -> None:
        a, b = np.array([3.0, 3.0, 5.0, 8.0]), np.array([5.0, 8.0, math.inf, math.inf, math.inf])
        ranks = rankdata(np.concatenate([a, b]))
        sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(9), 4)])
        mine = ranks[:4].sum()
        p = 2 * min((sums >= mine).mean(), (sums <= mine).mean())
        assert statistics.rank_sum(a, b) == pytest.approx(min(p, 1.0))
        assert statistics.rank_sum([1.0] * 5, [1.0] * 5) == 1.0

    def test_welch_equals_scipy(self) -> None:
        a, b = rng(9).normal(1.0, 1.0, 7), rng(10).normal(0.0, 2.0, 5)
        expected = ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
        assert statistics.welch_worse(a, b, 0.0) == pytest.approx(expected)

    def test_welch_floor_keeps_equal_values_from_passing_for_certainty(self) -> None:
        assert statistics.welch_worse([0.5] * 5, [0.49] * 5, 0.02) > 0.2
        assert statistics.welch_worse([0.5] * 5, [0.3] * 5, 0.02) < 1e-6


class TestSuperiority:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=6))
    @settings(max_examples=50, deadline=None)
    def test_counts_pairs(self, a: list[int], b: list[int]) -> None:
        wins = sum(1.0 if x < y else 0.5 if x == y else 0.0 for x in a for y in b)
        assert statistics.superiority(a, b) == pytest.approx(wins / (len(a) * len(b)))

    def test_two_failures_tie_and_a_failure_never_wins(self) -> None:
        assert statistics.superiority([math.inf], [math.inf]) == 0.5
        assert statistics.superiority([math.inf], [1e300]) == 0.0


class TestBestOf:
    def test_expectation_by_enumerating_subsets(self) -> None:
        validation, test = rng(11).random(6), rng(12).random(6)
        for k, value in enumerate(statistics.best_of(validation, test), 1):
            subsets = list(itertools.combinations(range(6), k))
            chosen = [test[min(subset, key=lambda i: validation[i])] for subset in subsets]
            assert value == pytest.approx(np.mean(chosen))

    def test_is_chosen_on_validation_not_on_test(self) -> None:
        """Trap: tuned on the test metric. The best validating setting has the worst test loss here."""
        assert statistics.best_of([1.0, 2.0, 3.0], [9.0, 5.0, 1.0])[-1] == 9.0

    def test_failed_settings_are_infinite_until_they_cannot_be_chosen(self) -> None:
        found = statistics.best_of([1.0, 2.0, math.inf], [1.0, 2.0, math.inf])
        assert found[0] == math.inf
        assert found[1] == pytest.approx((1 + 1 + 2) / 3)
        assert found[2] == 1.0


@pytest.mark.parametrize("function", [statistics.mean_ranks, statistics.friedman])
def test_ties_everywhere_say_nothing(function: Any) -> None:
    found = function(np.ones((6, 3)))
    assert np.all(found == (2.0 if function is statistics.mean_ranks else 1.0))
