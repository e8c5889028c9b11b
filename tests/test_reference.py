"""The packed reference gives the headline table that is committed beside it; nothing else of it is tracked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from headline_table import headline

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
KEPT = {"records.jsonl.xz", "environment.json", "suite.toml", "manifest.json", "headline.csv"}
PICTURES = {"figures/scores.png", "figures/summary.png", "figures/ranks.png"}


def test_the_packed_records_give_the_headline_table() -> None:
    committed = pd.read_csv(REFERENCE / "headline.csv")
    made = headline(REFERENCE)
    pd.testing.assert_frame_equal(made, committed, rtol=1e-5, atol=1e-9, check_dtype=False)


def test_every_kept_file_is_there_and_every_picture_is_of_the_readme() -> None:
    missing = [name for name in sorted(KEPT | PICTURES) if not (REFERENCE / name).is_file()]
    assert not missing
    readme = (REFERENCE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(PICTURES) if f"results/reference/{name}" not in readme] == []


def test_nothing_is_tracked_that_one_command_makes_again() -> None:
    root = REFERENCE.parents[1]
    if not shutil.which("git") or not (root / ".git").exists():
        pytest.skip("no git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "results/reference"], cwd=root, capture_output=True, text=True, check=True
    )
    tracked = {name.removeprefix("results/reference/") for name in listed.stdout.split()}
    assert tracked <= KEPT | PICTURES
