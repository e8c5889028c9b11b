"""Two folders: a real loss is found and named, noise is not, and what cannot be tested is said."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.synthetic import Runner, make

from optbench import report
from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.report import export
from optbench.report.analysis.comparison import Comparison, compare
from optbench.report.analysis.load import load_study
from optbench.report.results import junit
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


def test_folders_without_a_common_cell_are_refused_in_one_line(tmp_path: Path) -> None:
    """The gate must not pass because nothing was compared."""
    make(tmp_path / "before", {"a": Runner(name="adam", hyper={"lr": 0.1})}, ["p"], points=6)
    make(tmp_path / "after", {"a": Runner(name="adam", hyper={"lr": 0.01})}, ["p"], points=6)
    folders = [tmp_path / "before", tmp_path / "after"]
    with pytest.raises(RequestError, match="share 0 cells") as refused:
        report.write(folders, tmp_path / "out")
    text = str(refused.value)
    assert "\n" not in text and "before has adam[lr=0.1] on p" in text and "--optimizer 'adam[lr=0.1]'" in text
    assert not (tmp_path / "out").exists()
    make(tmp_path / "same", {"a": Runner(name="adam", hyper={"lr": 0.1})}, ["p", "q"], points=6)
    with pytest.raises(RequestError, match=r"share 1 cell .* fewer than the 2 required"):
        report.write([tmp_path / "before", tmp_path / "same"], tmp_path / "out", report.View(require_common=2))


def test_results_for_programs_say_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "FORMATS", ("png",))
    make(tmp_path / "before", {"a": Runner(), "b": Runner()}, SIX[:2], points=8)
    make(tmp_path / "after", {"a": Runner(rate=0.5), "b": Runner()}, SIX[:2], points=8)
    written = report.write([tmp_path / "before", tmp_path / "after"], tmp_path / "out")
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["verdict"] == written.verdict and data["regressions"] == written.regressions
    assert len(written.regressions) == 2 and len(data["comparison"]["cells"]) == 4
    assert [row["optimizer"] for row in data["not_ranked"]] == ["a (after)"]  # it reaches no target
    assert {row["optimizer"] for row in data["ranking"]} == {"a (before)", "b (before)", "b (after)"}
    assert {"problem", "label", "tau", "hits", "passes"} <= data["costs"][0].keys()
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "0")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["a", "a"]


def test_an_untested_cell_is_skipped_in_junit(tmp_path: Path) -> None:
    for name in ("before", "after"):
        make(tmp_path / name, {"a": Runner()}, ["p"], seeds=1)
    suite = ElementTree.fromstring(junit(compared(tmp_path / "before", tmp_path / "after")))[0]
    assert (suite.get("skipped"), suite[0][0].tag) == ("1", "skipped")
