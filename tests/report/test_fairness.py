"""The traps of a comparison: work that nobody pays, tuned against untuned, near-duplicates, uncorrected pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.cli import main
from optbench.records.reader import read
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.ranking import NOT_COUNTED, NOT_TUNED, units
from optbench.report.sentences.verdict import verdict

EIGHT = [f"p{k}" for k in range(8)]


def found(
    folder: Path, runners: Mapping[str, Runner], problems: Any = EIGHT, view: Any = None, **more: Any
) -> Findings:
    make(folder, runners, problems, **more)
    view = view or report.View()
    return findings(load_study([read(folder)], view.axis), view.mixed)


def state(folder: Path, **values: Any) -> None:
    path = folder / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


class TestOwnWork:
    """A method that computes nine times what it asks for is ten times as dear, and the axis says so."""

    RUNNERS: ClassVar = {"cheap": Runner(rate=3.0, noise=0.02, own=0.01), "dear": Runner(rate=3.6, noise=0.02, own=9.0)}

    def test_it_counts_on_the_total_axis_and_not_on_the_oracles(self, tmp_path: Path) -> None:
        assert found(tmp_path, self.RUNNERS).ranking.winner == "cheap"
        assert found(tmp_path, self.RUNNERS, view=report.View(axis="oracle")).ranking.winner == "dear"

    def test_passes_are_the_problems_and_the_own(self, tmp_path: Path) -> None:
        total = found(tmp_path, self.RUNNERS).study
        rows = total.cells["p0", "dear"]
        assert total.trials["passes"].to_numpy()[rows] == pytest.approx(100.0 * 10)
        assert total.curve(int(rows[0]), "passes")[0][-1] == pytest.approx(1000.0)

    def test_what_is_reached_beyond_the_budget_is_not_reached(self, tmp_path: Path) -> None:
        hits = [np.isfinite(found(tmp_path, self.RUNNERS, view=report.View(axis=axis)).study.passes_to).sum()
                for axis in ("oracle", "total")]  # fmt: skip
        assert hits[1] < hits[0]

    def test_an_evaluation_of_a_test_function_is_never_added_to(self, tmp_path: Path) -> None:
        facts = {name: problem_facts() | {"flops_per_pass": 1, "train": 1, "track": "function"} for name in EIGHT}
        assert found(tmp_path, self.RUNNERS, facts).ranking.winner == "dear"

    def test_who_does_not_say_what_it_computed_is_shown_apart(self, tmp_path: Path) -> None:
        ranking = found(tmp_path, {**self.RUNNERS, "silent": Runner(rate=9.0)}).ranking
        assert ranking.apart["silent"] == NOT_COUNTED and ranking.winner == "cheap"

    def test_an_old_folder_without_own_work_is_read_on_the_oracles_axis(self, tmp_path: Path) -> None:
        one = found(tmp_path, {"a": Runner(), "b": Runner()})
        assert one.study.axis == "oracle" and not one.ranking.apart
        assert any(text.startswith("Passes count the problem's work alone") for text in verdict(one))

    def test_the_command_line_switches_the_axis(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        make(tmp_path, self.RUNNERS, EIGHT)
        assert main(["report", str(tmp_path), "--axis", "oracle"]) == 0
        assert "dear wins" in capsys.readouterr().out
        assert main(["report", str(tmp_path)]) == 0
        assert "cheap wins" in capsys.readouterr().out


class TestTunedAgainstUntuned:
    RUNNERS: ClassVar = {
        "a1": Runner(3.0, name="a", hyper={"lr": 0.1}, noise=0.05),
        "a2": Runner(2.0, name="a", hyper={"lr": 0.2}, noise=0.05),
        "fixed": Runner(6.0, noise=0.05),
        "plain": Runner(1.0, noise=0.05),
    }

    def study(self, folder: Path, mixed: bool) -> Findings:
        make(folder, self.RUNNERS, EIGHT, tuned={"a": ["a1", "a2"]})
        tuning = json.loads((folder / "environment.json").read_text())["tuning"]
        tuning["competitors"]["fixed"]["why"] = "fixes lr"
        state(folder, tuning=tuning)
        return findings(load_study([read(folder)]), mixed)

    def test_who_fixes_a_setting_is_not_ranked_with_the_tuned(self, tmp_path: Path) -> None:
        one = self.study(tmp_path, mixed=False)
        assert one.ranking.apart == {"fixed": NOT_TUNED} and one.ranking.winner == "a (tuned, 2)"
        assert any(text.startswith(f"fixed is not ranked: it {NOT_TUNED}, where it is better") for text in verdict(one))

    def test_on_request_all_are_ranked_together(self, tmp_path: Path) -> None:
        assert self.study(tmp_path, mixed=True).ranking.winner == "fixed"


class TestGroups:
    """Six copies of one problem are one vote."""

    RATES: ClassVar = {f"p{k}": 6.0 if k < 6 else 1.0 for k in range(8)}
    RUNNERS: ClassVar = {"a": Runner(3.0, noise=0.01), "b": Runner(3.0, noise=0.01, rates=RATES)}

    def test_near_duplicates_count_as_one(self, tmp_path: Path) -> None:
        alone = found(tmp_path, self.RUNNERS).ranking
        assert alone.pairs["b", "a"].wins == 6 and alone.pairs["b", "a"].problems == 8
        state(tmp_path, groups={"copies": EIGHT[:6]})
        grouped = findings(load_study([read(tmp_path)]))
        assert grouped.ranking.problems == ["copies", "p6", "p7"]
        assert (grouped.ranking.pairs["b", "a"].wins, grouped.ranking.pairs["b", "a"].losses) == (1, 2)
        assert "8 problems in 3 groups" in " ".join(verdict(grouped))

    def test_a_group_of_which_one_problem_is_left_is_that_problem(self) -> None:
        assert units(["a", "b", "c"], {"g": ["a", "x"], "h": ["b", "c"]}) == {"a": ["a"], "h": ["b", "c"]}


def test_a_pair_is_printed_only_if_it_survives_the_correction_for_all_pairs(tmp_path: Path) -> None:
    """Of many equals some pair differs at the 5 % level; with that many pairs it must not be named."""
    rng = np.random.default_rng(5)
    named = uncorrected = 0
    for k in range(12):
        runners = {f"o{j}": Runner(3.0, noise=0.0, rates=dict.fromkeys(EIGHT, 0.0)) for j in range(8)}
        runners = {
            name: Runner(3.0, noise=0.05, rates={p: 3.0 + 0.5 * rng.standard_normal() for p in EIGHT})
            for name in runners
        }
        ranking = found(tmp_path / str(k), runners, seeds=3, points=30, rng=rng).ranking
        pairs = [(a, b) for a in ranking.labels for b in ranking.labels if a != b]
        uncorrected += any(ranking.pairs[pair].claim == "better" for pair in pairs)
        named += any(ranking.claim(*pair) == "better" for pair in pairs)
        assert not any(ranking.claim(*pair) == "better" and ranking.adjusted[pair] >= 0.05 for pair in pairs)
    assert uncorrected >= 4 and named <= 1
