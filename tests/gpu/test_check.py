"""The check of a GPU, dry: every step that needs none, small, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gpu import check

from optbench.problems import PROBLEMS


def test_a_dry_run_writes_what_it_found_and_names_what_it_could_not(tmp_path: Path) -> None:
    steps = ("graphs", "precision", "halving", "population")
    asked = [word for step in steps for word in ("--step", step)]
    assert check.main(["dry", "--out", str(tmp_path), "--device", "cpu", "--small", *asked]) == 0
    found = json.loads((tmp_path / "dry.json").read_text(encoding="utf-8"))
    assert found["failed"] == [] and found["left_out"] == []
    assert found["graphs"]["mlp"]["apart"] < 1e-5
    assert "needs a GPU" in found["halving"]
    both = [found["precision"][f"cnn_digits, {kind}"]["median_loss"] for kind in ("float32", "bf16")]
    assert both[0] != both[1] == pytest.approx(both[0], rel=0.05)
    assert "- precision: " in (tmp_path / "dry.md").read_text(encoding="utf-8")


def test_the_problems_that_train_need_no_files_and_no_packages_of_others() -> None:
    """One that does is refused, and with it the whole command."""
    assert {name for name in PROBLEMS if name not in check.carried(False)} == {
        n for n, e in PROBLEMS.items() if e.needs
    }
    assert set(check.carried(True)) < set(check.carried(False))
    for name in check.carried(True):
        assert len(check.CATALOG.problem(name).data().train[0]) > 0


def test_what_is_begun_too_late_is_left_out(tmp_path: Path) -> None:
    words = ["late", "--out", str(tmp_path), "--device", "cpu", "--small", "--limit", "0", "--step", "graphs"]
    assert check.main(words) == 0
    assert json.loads((tmp_path / "late.json").read_text(encoding="utf-8"))["left_out"] == ["graphs"]


def test_a_check_that_does_not_hold_is_an_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_APART", -1.0)
    monkeypatch.setitem(check.STEPS, "energy", (lambda one: one.expect(False, "energy: none"), 0))
    words = ["bad", "--out", str(tmp_path), "--device", "cpu", "--small", "--step", "energy"]
    assert check.main(words) == 1
    assert "FAILED energy: none" in (tmp_path / "bad.md").read_text(encoding="utf-8")
