"""What the evidence can carry: power, leave-one-out and seeds, each against an independent computation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import Runner, make, problem_facts
from scipy import stats

from optbench import report
from optbench.records.reader import read
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.leave_out import claims, leave_out
from optbench.report.analysis.load import load_study
from optbench.report.analysis.power import detectable, effect, power, problems_needed
from optbench.report.analysis.ranking import ROPE, Ranking, compare, min_problems
from optbench.report.analysis.seed_noise import seed_noise
from optbench.report.sentences import evidence

TEN = [f"p{k}" for k in range(10)]


def study_of(folder: Path, runners: Mapping[str, Runner], problems: Any = TEN, **how: Any) -> Findings:
    make(folder, runners, problems, **how)
    return findings(load_study([read(folder)]))


def uneven(rate: float, spread: float, problems: list[str], seed: int) -> Runner:
    """An optimizer that suits problems by chance."""
    rng = np.random.default_rng(seed)
    return Runner(rate, rates={name: max(rate + spread * rng.standard_normal(), 0.1) for name in problems})


class TestPower:
    @pytest.mark.parametrize(("n", "alpha"), [(8, 0.05), (14, 0.05), (26, 0.05), (26, 0.05 / 15), (40, 0.01)])
    def test_the_effect_is_found_as_often_as_it_says_by_scipys_test(self, n: int, alpha: float) -> None:
        """An independent simulation: other draws, scipy's exact p, one test at a time."""
        rng = np.random.default_rng(n)
        shift = effect(n, alpha)
        found = [stats.wilcoxon(rng.standard_normal(n) + shift, method="exact").pvalue < alpha for _ in range(1500)]
        assert np.mean(found) == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 1500))

    def test_many_differences_approach_the_t_test_at_its_known_efficiency(self) -> None:
        """Power of the t-test from the noncentral t; the signed-rank test needs pi / 3 times as many."""
        n = 60
        t_test = math.floor(n * 3 / math.pi)
        limit = stats.t.ppf(0.975, t_test - 1)
        power_of_t = stats.nct.sf(limit, t_test - 1, effect(n, 0.05) * math.sqrt(t_test))
        assert power_of_t == pytest.approx(0.8, abs=0.02)

    def test_too_few_problems_find_nothing_however_large_it_is(self) -> None:
        assert math.isinf(effect(5, 0.05)) and math.isfinite(effect(6, 0.05))
        assert math.isinf(effect(8, 0.05 / 15)) and math.isinf(detectable(5, 0.01, 0.05, 1))

    @pytest.mark.parametrize("alpha", [0.05, 0.01, 0.05 / 231])
    def test_the_fewest_problems_are_those_of_which_scipys_test_can_pass(self, alpha: float) -> None:
        def least(n: int) -> float:
            return float(stats.wilcoxon(np.arange(1.0, n + 1), method="exact").pvalue)

        assert next(n for n in range(1, 40) if least(n) < alpha) == min_problems(alpha)

    @pytest.mark.parametrize(("n", "spread"), [(14, 0.2), (26, 0.1), (26, 0.03)])
    def test_the_reports_own_claims_find_the_difference_about_as_often(self, n: int, spread: float) -> None:
        rng = np.random.default_rng(int(1000 * spread) + n)
        shift = detectable(n, spread, 0.05, 1)
        none = pd.Series(np.zeros(n), name="b")
        found = [compare(pd.Series(shift + spread * rng.standard_normal(n), name="a"), none).claim for _ in range(200)]
        assert 0.73 <= np.mean([one == "better" for one in found]) <= 0.95  # "at least 80 %"

    def test_problems_needed_are_those_at_which_the_difference_is_detectable(self) -> None:
        for difference, spread, pairs in ((0.1, 0.2, 1), (0.1, 0.2, 15), (0.05, 0.1, 6)):
            needed = int(problems_needed(difference, spread, 0.05, pairs))
            assert detectable(needed, spread, 0.05, pairs) == pytest.approx(difference, rel=0.06)
        assert math.isinf(problems_needed(ROPE / 2, 0.1, 0.05, 1))
        assert problems_needed(0.9, 0.001, 0.05, 1) == 6

    def test_a_row_a_pair_with_the_leader(self, tmp_path: Path) -> None:
        found = study_of(tmp_path, {"a": Runner(5.0), "b": uneven(3.0, 0.5, TEN, 1), "c": uneven(2.0, 0.5, TEN, 2)})
        table = power(found.ranking)
        assert [*table["first"]] == ["a", "a"] and [*table["second"]] == found.ranking.order[1:]
        seen = (found.ranking.means["a"] - found.ranking.means["b"]).to_numpy()
        row = table[table["second"] == "b"].iloc[0]
        assert row["difference"] == pytest.approx(seen.mean()) and row["spread"] == pytest.approx(np.std(seen, ddof=1))
        assert row["detectable"] == detectable(10, row["spread"], 0.05, 3)


class TestLeaveOut:
    RUNNERS: ClassVar = {
        "a": uneven(4.0, 0.4, TEN, 1),
        "b": uneven(3.4, 0.4, TEN, 2),
        "c": uneven(3.0, 0.6, TEN, 3),
        "d": Runner(2.0, refuses=("p9",)),
    }

    def found(self, folder: Path) -> Findings:
        facts = {name: problem_facts() for name in TEN}
        for name in TEN[7:]:
            facts[name]["track"] = "function"
        make(folder, self.RUNNERS, facts, points=40)
        path = folder / "environment.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"groups": {"pair": ["p0", "p1"]}}))
        return findings(load_study([read(folder)]))

    def test_every_part_gives_what_a_study_without_it_claims(self, tmp_path: Path) -> None:
        """The report's own ranking of a folder that never had the problem, the group, the track or the target."""
        whole = self.found(tmp_path / "whole")
        table = leave_out(whole.ranking)
        stated = set(claims(whole.ranking))
        assert len(stated) >= 3 and table["lost"].sum() > 0
        kinds = table.groupby("kind").size().to_dict()
        assert kinds == {"problem": 10, "group": 1, "track": 2, "target": 4}
        for row in table.to_dict("records"):
            without = self.without(whole, row["kind"], row["left_out"])
            lost = {pair for pair in stated if without.claim(*pair) != "better"}
            assert row["lost"] == len(lost) and row["claims"] == len(stated)
            assert set(row["which"].split("; ")) - {""} == {f"{a} over {b}" for a, b in lost}
            assert row["winner_lost"] == (whole.ranking.winner is not None and without.winner != whole.ranking.winner)

    @staticmethod
    def without(whole: Findings, kind: str, name: str) -> Ranking:
        from dataclasses import replace

        study = whole.study
        if kind == "target":
            gone = float(name.split()[0]) / 100
            facts = {}
            for problem, fact in study.facts.items():
                kept = {tau: value for tau, value in fact["targets"].items() if not math.isclose(float(tau), gone)}
                facts[problem] = {**fact, "targets": kept}
            return Ranking(replace(study, facts=facts))
        members = {"problem": [name], "group": ["p0", "p1"], "track": TEN[7:] if name == "function" else TEN[:7]}[kind]
        rows = np.flatnonzero(~study.trials["problem"].isin(members).to_numpy())
        return Ranking(study.of(rows))

    def test_nothing_is_said_of_what_would_be_claimed_without_a_part(self, tmp_path: Path) -> None:
        """One problem hides a difference on all others; that it is left out must not bring the claim."""
        problems = [f"p{k}" for k in range(7)]
        runners = {"a": Runner(3.0, rates={"p0": 0.2}), "b": Runner(2.0, rates={"p0": 6.0})}
        found = study_of(tmp_path, runners, problems)
        assert claims(found.ranking) == []
        table = leave_out(found.ranking)
        assert not table["lost"].any() and not table["winner_lost"].any()
        said = evidence.sentences(found.ranking, table, found.power, found.seed_noise)
        assert said[0] == "On training loss no difference is claimed, so none can rest on a single part."
        assert not any("better" in text for text in said)

    def test_what_a_win_rests_on_is_named(self, tmp_path: Path) -> None:
        """Six problems are as few as can carry a claim, so that each is needed."""
        six = TEN[:6]
        found = study_of(tmp_path, {"a": Runner(4.0), "b": Runner(2.0)}, six)
        assert found.ranking.winner == "a"
        said = evidence.sentences(found.ranking, found.left_out, found.power, found.seed_noise)
        assert said[0].startswith("On training loss 0 of 1 claim hold whichever one of 6 problems")
        assert any(text.startswith("a does not win without problem p0, problem p1") for text in said)


class TestSeeds:
    def test_variance_is_divided_as_in_analysis_of_variance(self, tmp_path: Path) -> None:
        """Mean squares of scipy's F: within over seeds, between over optimizers."""
        runners = {"a": Runner(4.0, noise=0.6), "b": Runner(3.0, noise=0.2), "c": Runner(2.0, noise=0.3)}
        found = study_of(tmp_path, runners, TEN[:4], seeds=6)
        table = seed_noise(found.ranking).set_index("problem")
        for problem in TEN[:4]:
            cells = [found.study.score[found.study.cells[problem, label]] for label in "abc"]
            within = sum(((one - one.mean()) ** 2).sum() for one in cells) / (3 * 5)
            f = stats.f_oneway(*cells).statistic
            between = max(within * (f - 1) / 6, 0.0)
            row = table.loc[problem]
            assert row["seed_sd"] == pytest.approx(math.sqrt(within)) and row["spread"] == pytest.approx(
                math.sqrt(between)
            )
            assert row["share"] == pytest.approx(within / (within + between))
            assert row["error"] == pytest.approx(math.sqrt(within / 6)) and row["seeds"] == 6
            assert row["seeds_needed"] == math.ceil(within / ROPE**2)
            spread = [np.abs(one - np.median(one)) for one in cells]  # Brown and Forsythe: F of these
            assert row["equal_p"] == pytest.approx(stats.f_oneway(*spread).pvalue)
            assert row["noisiest"] == "abc"[int(np.argmax([one.var() for one in cells]))]

    def test_a_simulated_share_is_recovered(self, tmp_path: Path) -> None:
        """Many optimizers of known spread: the estimate is near what they were drawn with."""
        rng = np.random.default_rng(0)
        runners = {f"o{k}": Runner(rate=6 + rng.standard_normal(), noise=1.0) for k in range(40)}
        found = study_of(tmp_path, runners, ["p0", "p1"], seeds=8)
        for share in seed_noise(found.ranking)["share"]:
            assert 0.3 < share < 0.7  # seeds and optimizers were drawn alike, so each makes half

    def test_seeds_that_do_not_differ_make_no_noise(self, tmp_path: Path) -> None:
        found = study_of(tmp_path, {"a": Runner(4.0, noise=0.0), "b": Runner(3.0, noise=0.0)}, TEN[:2])
        table = seed_noise(found.ranking)
        assert (table["seed_sd"] < 1e-12).all() and (table["seeds_needed"] == 1).all()

    def test_one_seed_tells_nothing_of_seeds(self, tmp_path: Path) -> None:
        found = study_of(tmp_path, {"a": Runner(4.0), "b": Runner(3.0)}, TEN[:6], seeds=1)
        assert seed_noise(found.ranking).empty
        assert len(evidence.sentences(found.ranking, found.left_out, found.power, found.seed_noise)) >= 2


def test_the_page_has_the_section_and_its_tables(tmp_path: Path) -> None:
    make(
        tmp_path,
        {"a": Runner(4.0, noise=1.0), "b": Runner(3.0), "c": Runner(2.9)},
        {n: problem_facts(validation=True) for n in TEN},
    )
    written = report.write([tmp_path])
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "What the evidence can carry" in markdown and "a true difference of" in markdown
    for name in ("left_out", "power", "seed_noise"):
        table = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert set(table["question"]) == {"training", "validation"}
    assert written.html.is_file()
