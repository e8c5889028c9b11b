"""Seconds are claimed of three lone runs and more; a step has a price in work and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import Runner, make

from optbench.records.reader import read
from optbench.report.analysis.findings import Findings, findings
from optbench.report.analysis.load import load_study
from optbench.report.sections.speed import _clock, _prices, _speeds


def timed(folder: Path, seeds: int) -> Findings:
    """Every seed ran alone; the k-th took k seconds more."""
    records = make(folder, {"a": Runner(own=0.5), "b": Runner()}, ["p"], seeds=seeds, alone=True)
    for record in records:
        record.seconds = 1.0 + record.seed
        record.state_bytes = 2 * 4 * 100 if record.optimizer == "a" else None
    (folder / "records.jsonl").write_text("".join(record.line() + "\n" for record in records))
    return findings(load_study([read(folder)]))


@pytest.mark.parametrize(
    ("seeds", "cell"), [(1, "1.00"), (2, "1.50"), (3, "2.00 (1.00 to 3.00)"), (6, "3.50 [1.00, 6.00]")]
)
def test_seconds_have_an_interval_from_three_lone_runs_on(tmp_path: Path, seeds: int, cell: str) -> None:
    speeds = timed(tmp_path, seeds).speeds
    assert _speeds(speeds)["seconds"].tolist() == [cell, cell]
    said = _clock(speeds, [False])
    assert "timed alone on the machine, " in said and "timed on a core of its own, " in _clock(speeds, [True])
    assert "several at a time or alone on the machine, " in _clock(speeds, [False, True])
    assert ("no claim rests on seconds" in said) == (seeds < 3)
    assert (f"{seeds} runs each or more" in said) == (seeds >= 3)


def test_the_price_of_a_step_is_in_work_and_in_multiples_of_the_parameters(tmp_path: Path) -> None:
    """100 passes in 200 evaluations; half as much work of its own; two numbers a parameter."""
    table = timed(tmp_path, 3).prices.set_index("label")
    assert table.loc["a", "problem_passes"] == pytest.approx(0.5)
    assert table.loc["a", "own_passes"] == pytest.approx(0.25) and table.loc["a", "own_share"] == pytest.approx(0.5)
    assert table.loc["a", "state_multiple"] == pytest.approx(2.0)
    text = _prices(table.reset_index()).set_index("optimizer")
    assert text.loc["b", "own work (passes a step)"] == text.loc["b", "state (times the parameters)"]  # a dash: unknown
    assert text.loc["a", "state (times the parameters)"] == "2.00"
