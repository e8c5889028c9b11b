"""Reading a result folder: nothing dropped in silence, nothing counted twice, no torch."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import Runner, make

from optbench.core.trial import RequestError
from optbench.records.reader import MISSING, curves, load, read
from optbench.report.analysis.load import load_study
from optbench.report.analysis.question import TRAINING

TWO = {"a": Runner(), "b": Runner(rate=1.0, fails=(1,))}


def test_load_has_a_row_a_trial_and_curves_a_row_a_point(tmp_path: Path) -> None:
    records = make(tmp_path, TWO, points=10)
    trials, points = load(tmp_path), curves(tmp_path)
    assert len(trials) == len(records) == 20
    assert len(points) == sum(len(record.curve) for record in records)
    first = records[3]
    row = trials[trials["key"] == first.key].iloc[0]
    assert (row["label"], row["seed"], row["status"]) == (first.label, first.seed, first.status)
    assert row["last_loss"] == pytest.approx(first.curve[-1]["loss"])
    assert row["last_test_loss"] == pytest.approx(first.curve[-1]["test_loss"])
    mine = points[points["key"] == first.key]
    assert mine["loss"].tolist() == pytest.approx([point["loss"] for point in first.curve])


def test_planned_trials_without_a_record_are_rows_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, TWO, keep=7)
    trials = load(tmp_path)
    assert len(trials) == 20
    assert (trials["status"] == MISSING).sum() == 13


def test_a_foreign_line_is_said_and_the_rest_is_read(tmp_path: Path) -> None:
    make(tmp_path, TWO)
    path = tmp_path / "records.jsonl"
    good = path.read_text()
    foreign = good.splitlines()[0].replace('"version":1', '"version":9')
    path.write_text(good + '{"key": "cut of\n' + foreign + "\n")
    results = read(tmp_path)
    assert len(results.trials) == 20
    assert any("2 line(s)" in note and "version 9" in note for note in results.notes)


def test_a_trial_recorded_twice_counts_once_with_its_first_record(tmp_path: Path) -> None:
    """Trap: the same seed counted twice."""
    records = make(tmp_path, TWO)
    again = records[0]
    again.status, again.error, again.curve = "failed", "changed", []
    path = tmp_path / "records.jsonl"
    path.write_text(path.read_text() + again.line() + "\n")
    results = read(tmp_path)
    assert len(results.trials) == 20
    assert results.trials.set_index("key").loc[again.key, "status"] != "failed"
    assert any("recorded again" in note for note in results.notes)


def test_trials_of_another_budget_are_not_pooled(tmp_path: Path) -> None:
    make(tmp_path, TWO, budget=10.0)
    old = (tmp_path / "records.jsonl").read_text()
    make(tmp_path, TWO, budget=100.0)
    path = tmp_path / "records.jsonl"
    path.write_text(old + path.read_text())
    whole = load_study([read(tmp_path)])
    assert len(whole.trials) == 20
    assert set(whole.trials["budget"]) == {100.0}
    assert any("another budget" in note for note in whole.notes)


def test_curves_belong_to_their_trials_after_trials_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner()}, budget=10.0, points=5)
    old = (tmp_path / "records.jsonl").read_text()
    records = make(tmp_path, {"a": Runner()}, budget=100.0, points=9)
    path = tmp_path / "records.jsonl"
    path.write_text(old + path.read_text())
    whole = load_study([read(tmp_path)])
    for row, trial in whole.trials.iterrows():
        record = next(r for r in records if r.key == trial["key"])
        (loss,) = whole.curve(int(str(row)), "loss")
        assert loss.tolist() == pytest.approx([point["loss"] for point in record.curve])


def test_null_is_nan_and_final_of_a_failed_trial_is_infinite(tmp_path: Path) -> None:
    make(tmp_path, TWO)
    whole = load_study([read(tmp_path)])
    failed = whole.trials[(whole.trials["label"] == "b") & (whole.trials["seed"] == 1)]
    assert (failed["final"] == math.inf).all()
    assert np.isnan(curves(tmp_path)["loss"]).sum() == 2


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="result"):
        read(tmp_path / name)


def test_a_broken_environment_is_a_note_not_an_end(tmp_path: Path) -> None:
    make(tmp_path, TWO)
    (tmp_path / "environment.json").write_text("{")
    assert any("environment.json is not readable" in note for note in read(tmp_path).notes)
    (tmp_path / "environment.json").write_text(json.dumps([1]))
    assert any("not a JSON object" in note for note in read(tmp_path).notes)


def test_curves_are_held_once(tmp_path: Path) -> None:
    make(tmp_path, TWO, points=9)
    results = read(tmp_path)
    before = results.points.copy()
    study = load_study([results])
    assert np.shares_memory(study.points["loss"].to_numpy(), results.points["loss"].to_numpy())
    assert np.shares_memory(study.asked(TRAINING).points["loss"].to_numpy(), results.points["loss"].to_numpy())
    pd.testing.assert_frame_equal(results.points, before)  # own work is added to the study's passes alone


def test_records_share_their_texts_and_settings(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner(hyper={"lr": 0.1})}, ["p"], seeds=3)
    trials = read(tmp_path).trials
    assert len({id(one) for one in trials["hyper"]}) == 1 and trials["hyper"][0] == {"lr": 0.1}


def test_the_report_never_imports_torch() -> None:
    code = "import optbench.report.build, optbench.records.reader, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_functions_of_the_package_load_a_folder_in_a_fresh_process(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner()})
    code = f"import optbench; print(len(optbench.load({str(tmp_path)!r})), len(optbench.curves({str(tmp_path)!r})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == ["10", "200"], run.stderr[-300:]
