"""A table of somebody's own curves as a study: what it says, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic import Runner, make

import optbench
from optbench.cli import main
from optbench.core.trial import RequestError


def frame(cost: str = "steps", seeds: int = 6) -> pd.DataFrame:
    """Two optimizers on one problem; "fast" is ten times closer to 0 at every cost."""
    rows = [
        {"optimizer": name, "seed": seed, cost: at, "loss": 2.0 * 10 ** (-rate * at / 100) + 0.001 * seed}
        for name, rate in (("fast", 3.0), ("slow", 2.0))
        for seed in range(seeds)
        for at in np.linspace(0.0, 100.0, 21)
    ]
    return pd.DataFrame(rows)


def test_own_curves_get_the_verdict_of_the_runner() -> None:
    study = optbench.from_frame(frame())
    assert study.winner == "fast"
    table = study.table()
    assert table.index.tolist() == ["fast", "slow"]
    assert table["loss"].tolist() == pytest.approx([2.0e-3 + 0.0025, 2.0e-2 + 0.0025], rel=1e-6)
    assert any(name.startswith("steps_to_") for name in table) and "steps" in study.verdict
    assert "lowest seen in this study" in study.verdict


def test_seconds_are_an_axis_too_and_a_known_best_is_said() -> None:
    study = optbench.from_frame(frame("seconds").assign(best=0.0))
    assert any(name.startswith("seconds_to_") for name in study.table())
    assert "lowest seen" not in study.verdict


def test_results_of_ours_come_back_as_they_were(tmp_path: Path) -> None:
    runners = {"a": Runner(hyper={"lr": 0.1}), "b": Runner(fails=(1,)), "c": Runner(refuses=("bowl",))}
    make(tmp_path / "results", runners)
    optbench.export(tmp_path / "results", "csv", tmp_path / "tables")
    points = tmp_path / "tables" / "points.csv"
    assert main(["import", str(points), "--out", str(tmp_path / "back")]) == 0
    who = ["problem", "label", "seed", "status", "budget"]
    before, after = (optbench.load(tmp_path / name) for name in ("results", "back"))
    pd.testing.assert_frame_equal(before[[*who, "hyper"]], after[[*who, "hyper"]])
    columns = ["passes", "seconds", "loss", "valid_loss", "test_loss", "problem", "label", "seed"]
    before, after = (optbench.curves(tmp_path / name) for name in ("results", "back"))
    pd.testing.assert_frame_equal(before[columns], after[columns])
    assert main(["report", str(tmp_path / "back")]) == 0


def test_a_run_that_diverged_or_failed_stays_in_the_denominator() -> None:
    table = frame()
    table.loc[(table["optimizer"] == "fast") & (table["seed"] == 1) & (table["steps"] == 100), "loss"] = np.nan
    failed = {"optimizer": "fast", "seed": 9, "status": "failed"}
    study = optbench.from_frame(pd.concat([table, pd.DataFrame([failed])]))
    assert study.table()["failed"].to_dict() == {"fast": 2, "slow": 0}
    assert study.trials()["status"].value_counts().to_dict() == {"spent": 11, "diverged": 1, "failed": 1}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"drop": "loss"}, "no column 'loss'"),
        ({"rename": {"loss": "losses"}}, "no column 'loss' .*rename 'losses'"),
        ({"rename": {"steps": "epoch"}}, "no column 'passes' .*'epoch'"),
        ({"rename": {"optimizer": "optimiser"}}, "rename 'optimiser'"),
        ({"seed": 0.5}, "row 1: seed is 0.5"),
        ({"seed": 0}, "row 22: a second point of fast on problem, seed 0 at 0 steps"),
        ({"steps": -1.0}, "row 1: steps is -1.0"),
        ({"note": "text"}, "row 1: note is 'text', no number"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(change: dict[str, Any], words: str) -> None:
    table = frame()
    if "drop" in change:
        table = table.drop(columns=change["drop"])
    elif "rename" in change:
        table = table.rename(columns=change["rename"])
    else:
        table = table.assign(**change)
    with pytest.raises(RequestError, match=words):
        optbench.from_frame(table)


def test_files_that_are_no_table_are_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert main(["import", str(tmp_path / "empty.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "is no table" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "no folder of IOHprofiler's files, and no table" in capsys.readouterr().err
    frame().iloc[:0].to_csv(tmp_path / "bare.csv", index=False)
    assert main(["import", str(tmp_path / "bare.csv"), "--out", str(tmp_path / "out")]) == 2
    assert "is empty" in capsys.readouterr().err
