"""Claims on simulated suites, tuning in the loop: none where there is no difference, one where there is a large one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

from optbench.report.analysis.statistics import signed_rank, signed_ranks

SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_claims.py"


@pytest.fixture(scope="module")
def simulate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate_claims", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_claims"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def few(claims: int, suites: int) -> bool:
    """Whether so many false claims are in keeping with 5 % of the suites."""
    return bool(binom.sf(claims - 1, suites, 0.05) > 0.01)


@pytest.mark.campaign
@pytest.mark.parametrize(("entrants", "suites"), [(6, 100), (22, 25)])
def test_suites_without_a_difference_claim_none(simulate: ModuleType, entrants: int, suites: int) -> None:
    rng = np.random.default_rng(entrants)
    winners, pairs, robust, against = [], [], [], []
    for _ in range(suites):
        drawn = simulate.draw(suite := simulate.Suite(entrants=entrants), rng)
        for question in simulate.QUESTIONS:
            found = simulate.claims(suite, drawn, question)
            winners.append(found.winner)
            pairs.append(found.printed > 0)
            robust.append(found.robust > 0)
            against.append(found.against > 0)
    for asked in (0, 1):  # the two questions take turns
        assert few(sum(winners[asked::2]), suites) and few(sum(pairs[asked::2]), suites)
        assert few(sum(robust[asked::2]), suites) and few(sum(against[asked::2]), suites)


def test_a_large_difference_is_claimed_under_both_questions(simulate: ModuleType) -> None:
    suite = simulate.Suite(entrants=4, settings=3, seeds=5, better=3.0)
    for ranking in simulate.rankings(suite, simulate.draw(suite, np.random.default_rng(0))).values():
        assert ranking.winner == "o0 (tuned, 3)" and simulate.claimed(ranking).printed >= 3


@pytest.mark.parametrize("better", [0.0, 0.5, 1.0, 2.0])
def test_claims_on_whole_arrays_are_those_of_the_reports_own_code(simulate: ModuleType, better: float) -> None:
    """Groups, tuning, failures and ties included; a difference makes claims that can differ."""
    suite = simulate.Suite(entrants=5, problems=14, seeds=4, settings=3, twins=2, better=better)
    drawn = simulate.draw(suite, np.random.default_rng(int(10 * better)))
    rankings = simulate.rankings(suite, drawn)
    assert [simulate.claims(suite, drawn, question) for question in rankings] == [
        simulate.claimed(ranking) for ranking in rankings.values()
    ]


def test_signed_ranks_from_one_table_are_those_of_scipy(simulate: ModuleType) -> None:
    differences = np.random.default_rng(0).normal(size=(13, 30))
    differences[0, :5] = 0.0  # no longer exact
    expected = [signed_rank(column) for column in differences.T]
    assert signed_ranks(differences) == pytest.approx(expected, rel=1e-12)


def test_a_simulated_suite_is_of_the_stated_size(simulate: ModuleType) -> None:
    suite = simulate.Suite(entrants=3, problems=9, seeds=2, settings=2, twins=2)
    drawn = simulate.draw(suite, np.random.default_rng(0))
    assert len(simulate.study_of(suite, drawn).trials) == 3 * 9 * 2 * 2
    ranking = next(iter(simulate.rankings(suite, drawn).values()))
    assert len(ranking.labels) == 3 and len(ranking.units) == 9 - 2
