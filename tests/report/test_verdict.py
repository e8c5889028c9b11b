"""The verdict's sentences: right where the answer is known, silent where there is none, and never moved by a third."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench.core.trial import Trial
from optbench.records.reader import read
from optbench.records.schema import Record
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.question import TRAINING
from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.seeds import OneProblem, one_problem
from optbench.report.analysis.study import Study
from optbench.report.sentences.one_problem import one_problem as one_problem_sentences
from optbench.report.sentences.verdict import answers, verdict

EIGHT = [f"p{k}" for k in range(8)]


def sentences(folder: Path, runners: Mapping[str, Runner], *args: Any, **kwargs: Any) -> list[str]:
    make(folder, runners, *args, **kwargs)
    return [
        text for answer in answers(findings(load_study([read(folder)]))) for text in (*answer.sentences, *answer.more)
    ]


def test_equal_interquartile_means_are_ordered_by_the_mean(tmp_path: Path) -> None:
    """Both reach targets on too few problems for an IQM above 0; one of them on two of eight, the other on one."""
    hits = {"aaa": {"p0": 1.5}, "zzz": {"p0": 1.5, "p1": 1.5}}
    rare = {name: Runner(rate=0.1, noise=0.0, rates=rates) for name, rates in hits.items()}
    make(tmp_path, {"good": Runner(), **rare}, EIGHT)
    ranking = findings(load_study([read(tmp_path)])).ranking
    assert ranking.iqm["aaa"].estimate == ranking.iqm["zzz"].estimate == 0
    assert ranking.order == ["good", "zzz", "aaa"]


def test_a_known_winner_is_named_first_with_its_interval(tmp_path: Path) -> None:
    text = sentences(tmp_path, {"a": Runner(rate=2.0), "b": Runner(rate=4.0), "c": Runner(rate=1.0)}, EIGHT)
    assert text[0].startswith("b wins: over 8 problems")
    assert text[1].startswith("Its score is 0.") and "[" in text[1]
    reached = next(sentence for sentence in text if sentence.startswith("b reached"))
    assert "reached the 1 % target on 8 of 8 problems at a median of" in reached
    assert "(40 of 40 trials)" in reached


def test_equals_are_called_practically_the_same(tmp_path: Path) -> None:
    text = sentences(tmp_path, {"a": Runner(noise=0.0), "b": Runner(noise=0.0)}, EIGHT)
    assert "No single winner" in text[0]
    assert "a and b share the highest" in text[0]
    assert any("practically the same" in sentence for sentence in text)


def test_who_has_a_score_of_0_is_not_said_to_be_level_with_the_leader(tmp_path: Path) -> None:
    six = EIGHT[:6]  # Holm's correction for three pairs leaves nothing to claim
    rare = Runner(rate=0.05, noise=0.0, rates={"p0": 4.0})  # one problem of six is outside of the interquartile mean
    text = sentences(tmp_path, {"a": Runner(rate=3.0), "b": Runner(rate=3.1), "rare": rare}, six)
    assert not any("rare" in one for one in text if one.startswith("The evidence does not tell"))
    assert "rare reached too few targets for a score above 0." in text


def test_few_problems_carry_no_claim_however_clear(tmp_path: Path) -> None:
    text = sentences(tmp_path, {"a": Runner(rate=1.0), "b": Runner(rate=9.0)}, EIGHT[:3])
    assert text[0].startswith("No winner is claimed: 3 problems cannot carry a claim")


def test_a_failing_winner_does_not_win(tmp_path: Path) -> None:
    """Trap: survivors look good. The fastest loses most of its trials."""
    text = sentences(tmp_path, {"bold": Runner(rate=6.0, fails=(0, 1, 2, 3)), "safe": Runner(rate=3.0)}, EIGHT)
    assert text[0].startswith("safe wins")
    assert any("32 trials of 80 (40 %) diverged" in sentence and "bold 32" in sentence for sentence in text)


def test_failing_fast_does_not_look_mediocre(tmp_path: Path) -> None:
    """Trap (DeepOBS): a miss scored as the last epoch plus one beats a slow success."""
    text = sentences(tmp_path, {"dead": Runner(fails=range(5)), "slow": Runner(rate=1.0)}, EIGHT)
    assert text[0].startswith("slow wins")


def test_size_limits_are_said(tmp_path: Path) -> None:
    problems = {f"p{k}": problem_facts(dim=10 if k < 4 else 5000) for k in range(8)}
    small = Runner(rate=4.0, rates={f"p{k}": 0.1 for k in range(4, 8)})
    text = sentences(tmp_path, {"small": small, "all": Runner(rate=4.0)}, problems)
    assert any(s.startswith("small reached") and s.endswith("none above 10 parameters.") for s in text)
    assert any(s.startswith("all reached") and "none above" not in s for s in text)


@pytest.mark.parametrize(
    ("kwargs", "runners", "words"),
    [
        ({"keep": 0}, {"a": Runner(), "b": Runner()}, "None of the 20 planned trials has a record yet"),
        ({"keep": 7}, {"a": Runner(), "b": Runner()}, "The run is incomplete: 13 of 20 planned trials"),
        ({}, {"a": Runner()}, "One optimizer took part"),
        ({}, {"a": Runner(fails=range(5))}, "No trial succeeded: of 10 planned trials, 10 failed."),
        ({}, {"a": Runner(rate=0.0, noise=0.0), "b": Runner(rate=0.0, noise=0.0)}, "No trial reached any target"),
        ({"environment": False}, {"a": Runner(), "b": Runner()}, "No targets are stated"),
    ],
)
def test_odd_folders(tmp_path: Path, kwargs: dict[str, Any], runners: Mapping[str, Runner], words: str) -> None:
    assert any(words in sentence for sentence in sentences(tmp_path, runners, **kwargs))


def simulated(
    rng: np.random.Generator, labels: int, problems: int, seeds: int = 5, spread: float | None = None
) -> Study:
    """A study in memory whose optimizers are the same in law: costs from one heavy-tailed distribution a problem."""
    names, records, rows = [f"o{k}" for k in range(labels)], [], []
    taus = (0.5, 0.1, 0.01, 0.001)
    for p in range(problems):
        hardness, drawn = rng.uniform(0.5, 2.5), rng.uniform(0.05, 0.8)
        for name in names:
            own = rng.normal(0, drawn if spread is None else spread)  # how it happens to suit this problem
            for seed in range(seeds):
                costs = 10 ** (hardness + own + 0.2 * rng.standard_normal() + np.array([0.0, 0.2, 0.4, 0.6]))
                failed = rng.random() < 0.05
                status = "failed" if failed else "spent"
                records.append({"problem": f"p{p}", "label": name, "seed": seed, "status": status, "budget": 1000.0})
                records[-1] |= {"optimizer": name, "plain": name, "error": None}
                for tau, cost in zip(taus, np.sort(costs), strict=True):
                    if cost <= 1000:
                        rows.append({"trial": len(records) - 1, "passes": cost, "seconds": cost, "loss": tau})
    trials, points = pd.DataFrame(records), pd.DataFrame(rows)
    facts = {f"p{p}": {"targets": {f"{tau:g}": tau for tau in taus}} for p in range(problems)}
    return Study(["x"], trials, points, facts, dict.fromkeys(names, "plugin"), [{}])


@pytest.mark.parametrize(("labels", "problems"), [(2, 8), (3, 7)])
def test_under_no_difference_a_winner_is_claimed_in_at_most_5_percent_of_suites(labels: int, problems: int) -> None:
    rng = np.random.default_rng(labels)
    claims = [Ranking(simulated(rng, labels, problems)).winner is not None for _ in range(500)]
    assert np.mean(claims) <= 0.05


class TestThirdEntrants:
    """Trap (Benavoli 2016, AlgoPerf): what is said of A and B depends on C."""

    A = Runner(rate=3.0, noise=0.05)
    B = Runner(rate=3.0, noise=0.05, rates={f"p{k}": 3.6 for k in range(5)} | {f"p{k}": 1.0 for k in range(5, 8)})
    # Between B and A where B leads, and C takes a place from B on the others: B's mean rank falls behind A's.
    C = Runner(rate=2.0, noise=0.05, rates={f"p{k}": 0.3 for k in range(5)} | {f"p{k}": 2.0 for k in range(5, 8)})
    D = Runner(rate=2.5, noise=0.05, rates={f"p{k}": 0.2 for k in range(5)} | {f"p{k}": 2.5 for k in range(5, 8)})

    def standing(self, folder: Path, *names: str) -> Ranking:
        make(folder, {name: getattr(self, name) for name in names}, EIGHT, rng=np.random.default_rng(len(names)))
        return Ranking(load_study([read(folder)]))

    def test_the_claim_on_a_pair_is_a_function_of_the_pair(self, tmp_path: Path) -> None:
        runners = {"A": Runner(noise=0.0), "B": Runner(rate=2.0, noise=0.0)}
        make(tmp_path / "two", runners, EIGHT)
        make(tmp_path / "three", runners | {"C": Runner(rate=9.0, noise=0.0)}, EIGHT)
        two, three = (Ranking(load_study([read(tmp_path / name)])) for name in ("two", "three"))
        assert two.pairs["A", "B"] == three.pairs["A", "B"]
        assert two.winner == "A"
        assert three.winner == "C"

    def test_a_rank_order_made_by_third_parties_is_called_out(self, tmp_path: Path) -> None:
        two, four = self.standing(tmp_path / "two", "A", "B"), self.standing(tmp_path / "four", "A", "B", "C", "D")
        assert two.ranks["B"] < two.ranks["A"]
        assert four.ranks["A"] < four.ranks["B"]  # the order of the two has switched
        assert ("B", "A") in four.switches()
        assert two.switches() == []
        assert two.pairs["A", "B"].wins == four.pairs["A", "B"].wins
        text = verdict(findings(four.study))
        assert any(s.startswith("By mean rank A comes before B, yet B does better on most problems") for s in text)


def test_records_stand_for_their_label_not_their_optimizer() -> None:
    """Two settings of one optimizer are two competitors."""
    record = Record("k", "p", "sgd", {"lr": 0.1}, 0, 1.0, "cpu", "spent")
    assert record.label == Trial("p", "sgd", (("lr", 0.1),), 0, 1.0).label == "sgd[lr=0.1]"


def test_who_generalises_is_told_apart_from_who_fits(tmp_path: Path) -> None:
    """One fits best; the other has the lower test loss, but where most of its trials failed it has none."""
    runners = {"fits": Runner(rate=4.0, test=1e3), "holds": Runner(rate=3.0, test=1.0, refuses=("p2",))}
    text = sentences(tmp_path, runners, EIGHT[:3])
    assert "The lowest median test loss at the budget, of 3 problems with test data: holds on 2 and fits on 1." in text


def test_without_test_data_nothing_is_said_of_it(tmp_path: Path) -> None:
    text = sentences(tmp_path, {"a": Runner(), "b": Runner()}, EIGHT, metrics=False)
    assert not any("test loss" in sentence for sentence in text)


def test_problems_that_state_no_such_target_are_not_counted_as_missed(tmp_path: Path) -> None:
    facts = {name: problem_facts() for name in EIGHT[:3]}
    facts["p2"]["targets"] = {"0.5": facts["p2"]["targets"]["0.5"]}
    text = sentences(tmp_path, {"a": Runner(rate=4.0), "b": Runner(rate=3.0)}, facts)
    assert any(sentence.startswith("a reached the 1 % target on 2 of 2 problems that state it") for sentence in text)


def test_one_problem_gets_the_answer_from_its_seeds_and_then_the_caveat(tmp_path: Path) -> None:
    runners = {"fast": Runner(rate=4.0), "slow": Runner(rate=2.5), "never": Runner(rate=0.5)}
    text = sentences(tmp_path, runners, ["digits"], seeds=10)
    assert text[0].startswith("On digits, fast reaches the 1 % target at ")
    assert "passes in 10 of 10 seeds, slow at " in text[0] and text[0].endswith("never in 0 of 10.")
    assert text[1].startswith("fast needs fewer passes than slow and never (rank-sum test over seeds, Holm-corrected")
    assert text[2].startswith("This holds for digits; a claim about other problems takes at least 6")
    assert not any("No winner" in sentence for sentence in text)


def test_a_target_that_fresh_networks_meet_is_said_to_be_met_before_the_first_step() -> None:
    cells = pd.DataFrame({"label": ["a", "b"], "seeds": [3, 3], "hits": [3, 2], "passes": [0.0, 12.0]})
    found = OneProblem("d", 0.5, cells, pd.DataFrame(columns=["first", "second", "sooner", "p", "holm_p"]))
    text = one_problem_sentences(found, TRAINING)[0]
    assert text == "On d, a reaches the 50 % target before its first step in 3 of 3 seeds, b at 12.0 passes in 2 of 3."


def test_equals_on_one_problem_are_not_told_apart(tmp_path: Path) -> None:
    text = sentences(tmp_path, {"a": Runner(noise=0.1), "b": Runner(noise=0.1)}, ["digits"], seeds=8)
    assert any("is not told apart from" in sentence for sentence in text)


@pytest.mark.campaign
def test_seeds_of_equals_differ_in_at_most_5_percent_of_studies(tmp_path: Path) -> None:
    """Three equal optimizers, all pairs tested and corrected: the leader is chosen by the same data."""
    rng = np.random.default_rng(1)
    found = [one_problem(simulated(rng, 3, 1, seeds=8, spread=0.0)) for _ in range(100)]
    assert np.mean([bool((one.pairs["holm_p"] < 0.05).any()) for one in found if one]) <= 0.09


def test_who_applies_to_few_problems_or_reaches_nothing_is_not_ranked(tmp_path: Path) -> None:
    runners = {"a": Runner(rate=4.0), "dp": Runner(rate=6.0, refuses=EIGHT[2:]), "zero": Runner(rate=0.0, noise=0.0)}
    make(tmp_path, runners | {"b": Runner(rate=3.9)}, EIGHT)
    found = findings(load_study([read(tmp_path)]))
    assert found.ranking.labels == ["a", "b"] and set(found.ranking.apart) == {"dp", "zero"}
    assert found.ranking.pairs["dp", "a"].problems == 2 and found.ranking.pairs["dp", "a"].wins == 2
    text = verdict(found)
    assert not any("dp" in s or "zero" in s for s in text if "tell" in s or "share" in s)
    assert any(s.startswith("dp is not ranked: it applies to 2 of 8 problems, where it is better than") for s in text)
    assert "zero is not ranked, for a score of 0." in text
