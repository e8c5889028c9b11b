"""Two folders: a real loss is found and named, noise is not, and what cannot be tested is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import Runner, make

from optbench import report
from optbench.records.reader import read
from optbench.report import export
from optbench.report.analysis.comparison import Comparison, compare
from optbench.report.analysis.load import load_study
from optbench.report.sentences.comparison import regressions, sentences

SIX = [f"p{k}" for k in range(6)]
BASE = {name: Runner(rate=3.0 - 0.3 * k) for k, name in enumerate("abcd")}


def compared(a: Path, b: Path) -> Comparison:
    found = compare(load_study([read(a), read(b)]))
    assert found is not None
    return found


def test_one_folder_has_nothing_to_compare(tmp_path: Path) -> None:
    make(tmp_path, BASE)
    assert compare(load_study([read(tmp_path)])) is None


def test_the_same_records_twice_are_no_regression(tmp_path: Path) -> None:
    for name in ("before", "after"):
        make(tmp_path / name, BASE, SIX)
    found = compared(tmp_path / "before", tmp_path / "after")
    assert regressions(found) == []
    assert (found.table["change"] == "not told apart").all()


def test_one_cell_that_got_worse_is_the_one_named(tmp_path: Path) -> None:
    make(tmp_path / "before", BASE, SIX, rng=np.random.default_rng(1))
    worse = BASE | {"b": Runner(rate=2.7, rates={"p4": 1.0})}
    make(tmp_path / "after", worse, SIX, rng=np.random.default_rng(2))
    found = compared(tmp_path / "before", tmp_path / "after")
    assert len(regressions(found)) == 1
    assert regressions(found)[0].startswith("Regression: b on p4 got worse from before to after")
    assert found.table.iloc[0][["optimizer", "problem", "change"]].tolist() == ["b", "p4", "worse"]
    back = compared(tmp_path / "after", tmp_path / "before")
    assert regressions(back) == []
    assert (back.table["change"] == "better").sum() == 1


def test_trials_that_now_fail_are_a_regression(tmp_path: Path) -> None:
    make(tmp_path / "before", BASE, SIX)
    make(tmp_path / "after", BASE | {"a": Runner(rate=3.0, fails=range(5))}, SIX)
    found = compared(tmp_path / "before", tmp_path / "after")
    assert len(regressions(found)) == 6
    assert all("trials without a result 0 to 5" in sentence for sentence in regressions(found))


def test_noise_raises_a_false_alarm_in_at_most_5_percent_of_comparisons(tmp_path: Path) -> None:
    rng, alarms = np.random.default_rng(0), 0
    runners = {name: Runner(rate=3.0 - 0.3 * k, noise=0.4) for k, name in enumerate("abcd")}
    for k in range(40):
        a, b = tmp_path / f"{k}a", tmp_path / f"{k}b"
        for folder in (a, b):
            make(folder, runners, SIX, points=6, rng=rng, metrics=False)
        alarms += bool(regressions(compared(a, b)))
    assert alarms <= 2


def test_one_seed_cannot_be_tested_and_that_is_said(tmp_path: Path) -> None:
    make(tmp_path / "before", BASE, seeds=1)
    make(tmp_path / "after", {name: Runner(rate=0.1) for name in BASE}, seeds=1)
    found = compared(tmp_path / "before", tmp_path / "after")
    assert regressions(found) == []
    assert any("nothing could be tested" in sentence for sentence in sentences(found))


def test_what_only_one_side_holds_is_counted(tmp_path: Path) -> None:
    make(tmp_path / "before", BASE)
    make(tmp_path / "after", {"a": Runner()})
    assert "6 only in before" in sentences(compared(tmp_path / "before", tmp_path / "after"))[0]


@pytest.mark.parametrize("names", [("before", "after"), ("x/quick", "y/quick")])
def test_the_report_of_two_folders(tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "FORMATS", ("png",))
    make(tmp_path / names[0], {"a": Runner()}, ["p", "q"], points=8)
    make(tmp_path / names[1], {"a": Runner(rate=0.5)}, ["p", "q"], points=8)
    written = report.write([tmp_path / name for name in names], tmp_path / "out")
    assert len(written.regressions) == 2
    assert "2 got worse" in written.verdict[0]
    assert written.html == tmp_path / "out" / "report.html"
    assert "got worse" in written.html.read_text(encoding="utf-8")
    assert not (tmp_path / names[0] / "report.html").exists()


def test_equal_seeds_do_not_make_a_small_change_certain(tmp_path: Path) -> None:
    """Optimizers without randomness give five equal values; a change of the test's own resolution is no regression."""
    make(tmp_path / "before", {"a": Runner(rate=3.0, noise=0.0)}, SIX)
    make(tmp_path / "after", {"a": Runner(rate=2.87, noise=0.0)}, SIX)
    assert regressions(compared(tmp_path / "before", tmp_path / "after")) == []
    make(tmp_path / "far", {"a": Runner(rate=2.0, noise=0.0)}, SIX)
    assert len(regressions(compared(tmp_path / "before", tmp_path / "far"))) == 6
