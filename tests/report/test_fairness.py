"""The traps of a comparison: work that nobody pays, tuned against untuned, near-duplicates, uncorrected pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from helpers.pages import unfolded
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.cli import main
from optbench.records.reader import read
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.analysis.ranking import NOT_COUNTED, NOT_TUNED, units
from optbench.report.analysis.study import TOTAL
from optbench.report.sentences.verdict import verdict

EIGHT = [f"p{k}" for k in range(8)]


def found(
    folder: Path, runners: Mapping[str, Runner], problems: Any = EIGHT, view: Any = None, **more: Any
) -> Findings:
    make(folder, runners, problems, **more)
    view = view or report.View()
    return findings(load_study([read(folder)], view.axis or TOTAL), view.mixed)


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


class TestWhatStandsForATrial:
    """On the axis with own work nothing that comes long after the budget may choose, win or be tested."""

    RUNNERS: ClassVar = {
        "late": Runner(9.0, name="a", hyper={"size": 2}, noise=0.01, own=9.0),  # 9 decades, but at ten times the budget
        "prompt": Runner(3.0, name="a", hyper={"size": 1}, noise=0.01, own=0.0),
        "rival": Runner(2.0, noise=0.01, own=0.0),
    }

    def study(self, folder: Path, axis: str) -> Findings:
        make(folder, self.RUNNERS, EIGHT, tuned={"a": ["late", "prompt"]})
        return findings(load_study([read(folder)], axis))

    def test_a_setting_is_chosen_by_what_it_reaches_within_the_budget(self, tmp_path: Path) -> None:
        chosen = [set(self.study(tmp_path, axis).choices["chosen"]) for axis in ("total", "oracle")]
        assert chosen == [{"size=1"}, {"size=2"}]

    def test_final_and_test_losses_and_the_chance_to_end_lower_are_those_of_the_budget(self, tmp_path: Path) -> None:
        runners = {"late": Runner(9.0, noise=0.01, own=9.0), "rival": Runner(2.0, noise=0.01, own=0.0)}
        total, oracle = (found(tmp_path, runners, view=report.View(axis=axis)) for axis in ("total", "oracle"))
        for one, wins in ((total, 0.0), (oracle, 1.0)):
            assert one.ranking.improvements("late", ["rival"])["rival"].estimate == wins
        late = total.study.cells["p0", "late"]
        passes, losses = total.study.curve(int(late[0]), "passes", "loss")
        within = losses[passes <= 110.0][-1]
        assert within > 1e-9 and total.study.trials["final"].to_numpy()[late[0]] == within
        row = total.finals.set_index(["problem", "label"]).loc[("p0", "late")]
        assert row["test_loss"] == pytest.approx(1.2 * row["loss"], rel=1e-9)
        row = oracle.finals.set_index(["problem", "label"]).loc[("p0", "late")]
        assert row["loss"] < 3e-9

    @pytest.mark.parametrize(("own", "point"), [(0.09, -1), (0.12, -2), (500.0, 0)])
    def test_a_little_own_work_keeps_the_last_point_and_much_leaves_the_start(
        self, tmp_path: Path, own: float, point: int
    ) -> None:
        study = found(tmp_path, {"a": Runner(own=own)}, ["p0"], points=20).study
        assert study.trials["final"].to_numpy()[0] == study.curve(0, "loss")[0][point]

    def test_a_trial_without_points_has_no_final_loss(self, tmp_path: Path) -> None:
        study = found(tmp_path, {"a": Runner(own=1.0, refuses=["p0"]), "b": Runner(own=1.0)}, ["p0"]).study
        assert np.isinf(study.trials["final"].to_numpy()[study.cells["p0", "a"]]).all()


class TestBestByThen:
    """A gradient method passes a good point and ends elsewhere; a method of values keeps its best."""

    def folder(self, folder: Path) -> Path:
        runners = {
            "rises": Runner(4.0, name="g", hyper={"lr": 2}, noise=0.0),
            "creeps": Runner(2.0, name="g", hyper={"lr": 1}, noise=0.0),
            "keeps": Runner(2.5, noise=0.0),
        }
        records = make(folder, runners, EIGHT, tuned={"g": ["rises", "creeps"]})
        for record in records:
            if record.hyper == {"lr": 2}:
                record.curve[-1] |= {"loss": 1.9, "test_loss": 2.5}
        (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
        return folder

    def test_by_default_the_returned_point_counts(self, tmp_path: Path) -> None:
        one = findings(load_study([read(self.folder(tmp_path))]))
        assert set(one.choices["chosen"]) == {"lr=1"} and one.ranking.order[0] == "keeps"

    def test_on_request_every_trial_is_scored_at_its_best(self, tmp_path: Path, capsys: Any) -> None:
        folder = self.folder(tmp_path)
        one = findings(load_study([read(folder)], scored="best"))
        assert set(one.choices["chosen"]) == {"lr=2"} and one.ranking.order[0] == "g (tuned, 2)"
        final, test = (one.study.last[name][one.study.cells["p0", "g (tuned, 2)"]] for name in ("loss", "test_loss"))
        assert final == pytest.approx(test / 1.2)  # of the same point, not of the end
        assert main(["report", str(folder), "--scored", "best"]) == 0
        assert "g wins on 8 problems" in capsys.readouterr().out

    def test_the_report_shows_the_places_by_both_rules(self, tmp_path: Path) -> None:
        page = unfolded(report.write([self.folder(tmp_path)]).html)
        assert "scored at its best point by then, settings chosen by that too, g (tuned, 2) leads on training" in page
        orders = pd.read_csv(tmp_path / "tables" / "orders.csv").set_index("label")
        assert orders.loc["keeps", ["iqm", "scored_otherwise"]].tolist() == [1, 2]
        finals = pd.read_csv(tmp_path / "tables" / "finals.csv").set_index(["problem", "label"])
        assert finals.loc[("p0", "keeps"), "best_loss"] == finals.loc[("p0", "keeps"), "loss"]


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
