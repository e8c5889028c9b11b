"""What each trial reached and cost, and the traps other suites fell into."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.synthetic import Runner, make, problem_facts

from optbench import report
from optbench.records.reader import read
from optbench.records.schema import OWN_CORE
from optbench.report.analysis import cells, certificates
from optbench.report.analysis.bands import Bands
from optbench.report.analysis.load import load_study
from optbench.report.analysis.study import Study
from optbench.report.format import records_of
from optbench.report.sentences.certificates import proofs, reference, sentences


def made(folder: Path, *args: Any, **kwargs: Any) -> Study:
    make(folder, *args, **kwargs)
    return load_study([read(folder)])


def test_cost_to_target_by_walking_the_curves(tmp_path: Path) -> None:
    records = make(tmp_path, {"a": Runner(noise=0.5), "b": Runner(rate=1.2)})
    whole = load_study([read(tmp_path)])
    for row, record in enumerate(records):
        for k, tau in enumerate(whole.taus):
            goal = 2.0 * tau
            hits = [point["passes"] for point in record.curve if point["loss"] <= goal]
            assert whole.passes_to[row, k] == (hits[0] if hits else math.inf)


def test_survivors_do_not_look_good(tmp_path: Path) -> None:
    """Trap (benchopt): failed runs vanish from the tables. Three of five fail; the median trial never arrives."""
    whole = made(tmp_path, {"a": Runner(noise=0.0, fails=(0, 1, 2)), "b": Runner(noise=0.0)}, ["p"])
    table = cells.costs(whole)
    half = {row["label"]: row for row in records_of(table[table["tau"] == 0.5])}
    assert (half["a"]["trials"], half["a"]["hits"], half["a"]["passes"]) == (5, 2, math.inf)
    assert half["b"]["passes"] < math.inf
    assert cells.finals(whole).set_index("label").loc["a", "loss"] == math.inf


def test_a_target_hit_before_the_failure_does_not_count(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a": Runner(rate=30.0, fails=(0,))}, ["p"], seeds=1)
    assert np.isfinite(whole.points["loss"]).any()
    assert (whole.points["loss"] < 0.1).any()
    assert np.isinf(whole.passes_to).all()


def test_targets_do_not_depend_on_who_entered(tmp_path: Path) -> None:
    """Trap (benchopt, AlgoPerf): each solver timed to its own best, scores that move with the field."""
    fast, slow = Runner(rate=9.0, noise=0.0), Runner(rate=1.0, noise=0.0)
    alone, both = made(tmp_path / "alone", {"slow": slow}), made(tmp_path / "both", {"slow": slow, "fast": fast})
    keep = ["problem", "tau", "target_loss", "trials", "hits", "passes", "ert_passes"]
    costs = [t[t["label"] == "slow"][keep].reset_index(drop=True) for t in (cells.costs(alone), cells.costs(both))]
    assert costs[0].equals(costs[1])
    assert alone.score == pytest.approx(both.score[both.trials["label"] == "slow"])


def test_missing_and_inapplicable_stay_in_the_denominators(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a": Runner(), "b": Runner(refuses=("valley",))}, keep=18)
    table = cells.costs(whole)
    assert (table["trials"] == 5).all()
    assert table[(table["problem"] == "valley") & (table["label"] == "b")]["hits"].sum() == 0
    statuses = cells.statuses(whole)
    assert statuses["planned"].sum() == 20
    assert statuses["missing"].sum() == 2
    assert statuses["inapplicable"].sum() == 3


def test_notes_stand_beside_statuses_but_for_the_one_that_all_trials_for_the_clock_have(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a": Runner()}, ["p"])
    notes = [f"{OWN_CORE}, 2 at a time", "ran with 2 lanes", f"ran alone; {OWN_CORE}, 2 at a time", None]
    whole.trials["note"] = [*notes, *[None] * (len(whole.trials) - len(notes))]
    assert cells.statuses(whole)["reasons"].tolist() == ["ran with 2 lanes; ran alone"]


def test_a_nan_is_never_the_first_metric_again(tmp_path: Path) -> None:
    """Trap (DeepOBS): NaN runs padded with their first metrics, a miss scored as the last epoch plus one."""
    whole = made(tmp_path, {"a": Runner(fails=range(5))}, ["p"])
    table = cells.finals(whole).iloc[0]
    assert math.isnan(table["test_loss"])
    assert table["left"] == math.inf
    assert (whole.score == 0.0).all()


def test_one_failed_trial_is_the_worst_test_metric_not_an_absent_one(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a": Runner(fails=(0, 1, 2))}, ["p"])
    assert cells.finals(whole).iloc[0]["test_loss"] == math.inf


def test_seconds_are_taken_from_lone_trials_only(tmp_path: Path) -> None:
    records = make(tmp_path, {"a": Runner()}, ["p"], seeds=3)
    records[1].alone = True
    for point in records[1].curve:
        point["seconds"] *= 7
    records[1].seconds *= 7
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(tmp_path)])
    row = cells.speeds(whole, whole).iloc[0]
    assert row["comparable"]
    assert row["trials"] == 1
    assert row["seconds"] == pytest.approx(7.0)
    assert row["share_of_ceiling"] == pytest.approx(row["flops_per_second"] / 4.0e10)
    assert Bands(whole, "p", "seconds").grid[-1] == pytest.approx(7.0)


def test_a_lone_trial_tells_the_seconds_of_other_learning_rates(tmp_path: Path) -> None:
    """And of nothing else that differs."""
    labels = ["a[lr=0.1]", "a[lr=0.2]", "a[beta=0.5,lr=0.1]"]
    records = make(tmp_path, {label: Runner() for label in labels}, ["p"], seeds=2)
    lone = next(record for record in records if record.label == labels[0])
    lone.alone = True
    for point in lone.curve:
        point["seconds"] *= 7
    lone.seconds *= 7
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(tmp_path)])
    found = cells.speeds(whole, whole).set_index("label")
    assert found["comparable"].to_dict() == {labels[0]: True, labels[1]: True, labels[2]: False}
    assert found.loc[labels[1], "seconds"] == pytest.approx(7.0)
    assert Bands(whole, "p", "seconds").grid[-1] == pytest.approx(7.0)
    costs = cells.costs(whole).set_index("label")
    assert costs.loc[labels[1], "seconds_comparable"].all() and not costs.loc[labels[2], "seconds_comparable"].any()


def test_shared_clocks_are_said(tmp_path: Path) -> None:
    whole = made(tmp_path, {"a": Runner()}, ["p"])
    assert not cells.speeds(whole, whole)["comparable"].any()
    assert not cells.costs(whole)["seconds_comparable"].any()
    band = Bands(whole, "p", "seconds").band("a")
    assert band is not None
    assert not band.comparable


def test_a_band_holds_the_last_value_and_a_failure_is_infinite_from_its_end(tmp_path: Path) -> None:
    """By brute force: at every cost of the grid, each trial's last point at or before it."""
    records = make(tmp_path, {"a": Runner(fails=(1,)), "b": Runner()}, ["p"], points=7)
    whole = load_study([read(tmp_path)])
    every = Bands(whole, "p", "passes")
    band = every.band("a")
    assert band is not None
    assert len(band.cost) == len(every.grid)
    for k, cost in enumerate(band.cost):
        values = []
        for record in records[:5]:
            past = [point["loss"] for point in record.curve if point["passes"] <= cost + 1e-9]
            ended = record.status == "diverged" and cost > record.curve[-1]["passes"]
            values.append(math.inf if ended or not math.isfinite(past[-1]) else past[-1])
        assert band.middle[k] == np.median(values)
        assert (band.low[k], band.high[k]) == (min(values), max(values))


def test_a_curve_that_ends_at_once_shows_where_it_ended(tmp_path: Path) -> None:
    records = make(tmp_path, {"a": Runner(), "b": Runner()}, ["p"], seeds=1, points=7)
    records[0].curve = [records[0].curve[0], records[0].curve[0] | {"passes": 0.3, "loss": 0.125}]
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    band = Bands(load_study([read(tmp_path)]), "p", "passes", points=3).band("a")
    assert band is not None
    assert band.middle[-1] == 0.125


def test_higher_is_better_metrics_fail_downwards(tmp_path: Path) -> None:
    records = make(tmp_path, {"a": Runner()}, ["p"], seeds=2, points=4)
    for record in records:
        for k, point in enumerate(record.curve):
            point["test_accuracy"] = 0.2 * k
    records[1].status = "failed"
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(tmp_path)])
    assert cells.finals(whole).iloc[0]["test_accuracy"] == -math.inf
    band = Bands(whole, "p", "passes").band("a", "test_accuracy")
    assert band is not None
    assert band.low[0] == band.high[0] == 0.0


GRID = {"lower": 0.5, "upper": 0.5, "scope": "grid {-1, 0, 1}", "exact": True}


class TestCertificates:
    def about(self, folder: Path, certificate: dict[str, object]) -> list[str]:
        runners = {"exact": Runner(rate=0.3, certificate=certificate, name="dp_grid"), "adam": Runner(rate=6.0)}
        whole = made(folder, runners, {"p": problem_facts(source="bound")})
        return sentences(whole, "p", certificates.certificates(whole))

    def told(self, folder: Path, **runners: Runner) -> list[str]:
        """What the verdict says of the certificates of these."""
        return proofs(certificates.certificates(made(folder, runners, {"p": problem_facts(source="bound")})))

    def test_only_methods_whose_proofs_are_tested_prove(self, tmp_path: Path) -> None:
        ours = Runner(rate=0.3, certificate=GRID, name="dp_grid")
        assert self.told(tmp_path / "ours", ours=ours) == [
            "dp_grid proves the optimum of p over grid {-1, 0, 1}: 0.500."
        ]
        (text,) = self.told(tmp_path / "theirs", theirs=Runner(rate=0.3, certificate=GRID))
        assert "claimed by theirs and not checked" in text and "prove" not in text

    def test_proofs_come_before_claims(self, tmp_path: Path) -> None:
        ours = Runner(rate=0.3, certificate=GRID, name="dp_grid")
        texts = self.told(tmp_path, claims=Runner(rate=0.3, certificate=GRID), ours=ours)
        assert ["proves" in text for text in texts] == [True, False]

    @pytest.mark.parametrize("name", ["dp_step", "theirs"])
    def test_what_a_record_contradicts_is_not_in_the_verdict(self, tmp_path: Path, name: str) -> None:
        wrong = Runner(rate=0.3, certificate=GRID | {"scope": "all networks"}, name=name)
        assert self.told(tmp_path / "alone", wrong=wrong)
        assert self.told(tmp_path / "beaten", wrong=wrong, adam=Runner(rate=6.0)) == []

    def test_certificates_that_exclude_each_other_are_not_in_the_verdict(self, tmp_path: Path) -> None:
        """A network below another's bound is a fact; a claim above nothing but its own word is not."""
        low = Runner(rate=0.3, certificate=GRID | {"lower": 0.4, "upper": 0.4}, name="dp_grid")
        (text,) = self.told(tmp_path / "claim", low=low, high=Runner(rate=0.3, certificate=GRID))
        assert "dp_grid proves" in text and "0.400" in text
        high = Runner(rate=0.3, certificate=GRID, name="dp_grid")
        false = Runner(rate=0.3, certificate=GRID | {"lower": 0.1, "upper": 0.1})
        assert self.told(tmp_path / "both", high=high, false=false) == []

    def test_below_a_grid_certificate_is_no_contradiction(self, tmp_path: Path) -> None:
        (text,) = self.about(tmp_path, GRID)
        assert "dp_grid proves 0.500 to be the lowest loss over grid {-1, 0, 1}" in text
        assert "adam ended below it, which is no contradiction" in text

    def test_below_a_certificate_over_all_weights_is_one(self, tmp_path: Path) -> None:
        (text,) = self.about(tmp_path, GRID | {"scope": "continuous weights"})
        assert "CONTRADICTION" in text

    def test_an_interval_is_not_called_an_optimum(self, tmp_path: Path) -> None:
        (text,) = self.about(tmp_path, GRID | {"lower": 0.25, "exact": False})
        assert "in [0.250, 0.500]" in text

    @pytest.mark.parametrize(
        ("source", "word"), [("optimum", "CONTRADICTION"), ("bound", "CONTRADICTION"), ("best known", "can be lowered")]
    )
    def test_below_the_stated_best(self, tmp_path: Path, source: str, word: str) -> None:
        records = make(tmp_path, {"adam": Runner(rate=6.0)}, {"p": problem_facts(best=1.0, source=source)}, seeds=1)
        records[0].curve[-1]["loss"] = 0.9
        (tmp_path / "records.jsonl").write_text(records[0].line() + "\n")
        whole = load_study([read(tmp_path)])
        (text,) = sentences(whole, "p", certificates.certificates(whole))
        assert word in text

    def test_regrets_are_a_table_not_a_sentence_in_markdown(self, tmp_path: Path) -> None:
        runners = {"exact": Runner(rate=0.3, certificate=GRID, name="dp_grid"), "adam": Runner(rate=6.0)}
        make(tmp_path, runners, {"p": problem_facts(source="bound"), "none": problem_facts()}, seeds=3)
        lines = (tmp_path / "records.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "records.jsonl").write_text(
            "".join(line for line in lines if '"none"' not in line or "adam" in line)
        )
        report.write([tmp_path])
        text = (tmp_path / "report.md").read_text()
        assert text.count("How far each ended from what is proved") == 1
        assert "| optimizer | regret to dp\\_grid, over " in text and "\n| adam | " in text

    def test_a_bound_is_not_called_an_optimum(self, tmp_path: Path) -> None:
        whole = made(tmp_path, {"adam": Runner()}, {"p": problem_facts(source="bound")})
        text = reference(whole, "p")
        assert "bound that perhaps nothing reaches" in text
        assert "not the regret" in text


@pytest.mark.parametrize("status", ["timeout", "killed", "failed", "diverged"])
def test_a_failed_trial_with_a_fine_curve_is_still_failed(tmp_path: Path, status: str) -> None:
    records = make(tmp_path, {"a": Runner(), "b": Runner()}, ["p"], seeds=1, points=9)
    records[0].status, records[0].curve = status, records[0].curve[:6]
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(tmp_path)])
    assert whole.trials["final"].tolist() == [math.inf, records[1].curve[-1]["loss"]]
    assert np.isinf(whole.passes_to[0]).all()
    band = Bands(whole, "p", "passes").band("a")
    assert band is not None
    assert band.middle[band.cost <= records[0].curve[-1]["passes"]].max() < math.inf
    assert cells.finals(whole).set_index("label")["no_result"].tolist() == [1, 0]


def test_a_band_is_infinite_where_the_longer_trials_go_on_without_the_failed_one(tmp_path: Path) -> None:
    records = make(tmp_path, {"a": Runner()}, ["p"], seeds=3, points=9)
    for record in records[:2]:
        record.status, record.curve = "killed", record.curve[:6]
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    band = Bands(load_study([read(tmp_path)]), "p", "passes").band("a")
    assert band is not None
    ended = records[0].curve[-1]["passes"]
    assert (band.middle[band.cost > ended] == math.inf).all()
    assert (band.middle[band.cost <= ended] < math.inf).all()
    assert (band.low < math.inf).all()


def test_the_seconds_of_one_lone_trial_are_laid_over_the_passes_of_the_others(tmp_path: Path) -> None:
    """Trial 0 ran alone at 0.05 s a pass, the others shared the machine at 0.01 times their seed."""
    records = make(tmp_path, {"a": Runner(), "b": Runner()}, ["p"], seeds=3)
    for record in records:
        record.alone = record.seed == 0 and record.optimizer == "a"
        pace = 0.05 if record.alone else 0.01 * (record.seed + 1)
        for point in record.curve:
            point["seconds"] = pace * point["passes"]
        record.seconds = pace * record.passes
    (tmp_path / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    whole = load_study([read(tmp_path)])
    costs = cells.costs(whole).set_index(["label", "tau"])
    assert costs.loc[("a", 0.1), "seconds"] == pytest.approx(0.05 * costs.loc[("a", 0.1), "passes"])
    assert costs.loc["a", "seconds_comparable"].all() and not costs.loc["b", "seconds_comparable"].any()
    (clock,) = whole.curve(2, "clock")
    assert clock == pytest.approx(0.05 * whole.curve(2, "passes")[0])
    (shared,) = whole.curve(5, "clock")
    assert shared == pytest.approx(0.03 * whole.curve(5, "passes")[0])
    assert (whole.points.groupby("trial")["seconds"].last().to_numpy()[1:] < 5.0).all()  # the records stay as they are
