"""A GPU that cannot capture a step: the trial runs all the same, its record says why, and the run says so once."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench.engine.gradients import Gradients
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite


def test_it_is_in_the_record_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gradients, "uncaptured", "CUDA out of memory")
    said: list[str] = []
    suite = Suite("s", ("line_mse",), ("adam",), seeds=2, passes=5, timing=0)
    records = run_suite(suite, tmp_path / "out", RunOptions(workers=1, own_process=True), said.append)
    assert [record.status for record in records] == ["spent"] * 2
    assert {record.note for record in records} == {"its step ran without a CUDA graph: CUDA out of memory"}
    assert sum("CUDA graph" in line for line in said) == 1
