"""Trials for the clock on cores of their own: several at a time, each on one, and refused where that cannot be."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from helpers.plugins import quiet

from optbench.core.trial import RequestError
from optbench.execution import interference, machine
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.files import read_environment

ODD = """import os
from dataclasses import dataclass

@dataclass(frozen=True)
class Odd:
    needs = "value"
    def minimise(self, f):
        raise ValueError(f"on {sorted(os.sched_getaffinity(0))} with {os.getpid()}")
"""
can_pin = pytest.mark.skipif(not hasattr(psutil.Process(), "cpu_affinity"), reason="this system pins no process")


@can_pin
def test_one_logical_processor_a_core_of_those_that_may_be_used() -> None:
    cores = machine.own_cores()
    assert cores and set(cores) <= set(psutil.Process().cpu_affinity())


def test_neighbours_share_a_core_where_the_system_does_not_say(monkeypatch) -> None:
    """As on Windows, where hyperthreads would otherwise be timed against each other."""

    class Eight:
        def cpu_affinity(self) -> list[int]:
            return [0, 1, 2, 3, 5, 6, 7]

    monkeypatch.setattr(machine.psutil, "Process", Eight)
    monkeypatch.setattr(machine.Path, "is_file", lambda self: False)
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda logical=True: 8 if logical else 4)
    assert machine.own_cores() == [0, 2, 5, 6]
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda logical=True: 8 if logical else None)
    assert machine.own_cores() == [0, 1, 2, 3, 5, 6, 7]


@can_pin
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="asks Linux where it runs")
def test_every_trial_for_the_clock_stays_on_one_core(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(ODD)
    suite = Suite("s", ("sphere_2d", "rosenbrock"), ("odd", "adam"), seeds=1, passes=5)
    options = RunOptions(pinned=True, plugins=(str(tmp_path / "odd.py"),))
    records = run_suite(suite, tmp_path / "out", options, quiet)
    cores = machine.own_cores()[:4]
    for record in records:
        if record.optimizer == "odd":
            assert any(f"on [{core}] with" in str(record.error) for core in cores), record.error
        else:
            assert record.alone and record.note == f"timed on a core of its own, {len(cores)} at a time"
    assert read_environment(tmp_path / "out")["timing"] == "pinned"


def test_pinning_is_refused_where_it_means_nothing(monkeypatch, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="one a machine"):
        RunOptions(pinned=True, cluster="local:2")
    with pytest.raises(RequestError, match="a GPU runs one at a time"):
        RunOptions(pinned=True, device="cuda")
    monkeypatch.setattr(machine.psutil, "Process", lambda: object())
    with pytest.raises(RequestError, match="leave it out"):
        run_suite(Suite("s", ("sphere_2d",), ("adam",)), tmp_path / "out", RunOptions(pinned=True), quiet)


@can_pin
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="asks Linux where it runs")
def test_with_one_seed_trials_run_one_a_core_unless_they_are_asked_to_run_alone(tmp_path: Path, monkeypatch) -> None:
    """They are all that there is to run; how much they disturb each other is measured and said. So in pinned suites."""
    monkeypatch.setattr(machine, "own_cores", lambda: sorted(os.sched_getaffinity(0))[:2] * 2)  # two, on any machine
    names = ("sphere_2d", "rosenbrock", "line_mse")
    one = Suite("s", names, ("adam", "pso"), seeds=1, passes=5)
    records = run_suite(one, tmp_path / "one", RunOptions(workers=2), quiet)
    assert {record.note for record in records} == {"timed on a core of its own, 2 at a time"}
    found = read_environment(tmp_path / "one")
    assert found["timing"] == "pinned" and 0.3 < found["interference"] < 30
    three = replace(one, seeds=3, pinned=True)
    records = run_suite(three, tmp_path / "three", RunOptions(workers=2), quiet)
    notes = {record.seed: record.note for record in records if record.seed in (0, 1)}
    assert notes[0] == "timed on a core of its own, 2 at a time" and notes[1] is None
    assert "pinned = true" in three.toml() and "pinned" not in one.toml()
    others = replace(one, timing=1), replace(one, problems=names[:1]), replace(three, timing=1), replace(one, seeds=3)
    for number, other in enumerate(others):
        records = run_suite(other, tmp_path / str(number), RunOptions(workers=2), quiet)
        assert all(record.alone == (record.seed == 0) and record.note is None for record in records)
        assert "timing" not in read_environment(tmp_path / str(number))


@can_pin
def test_a_process_that_does_not_answer_costs_the_figure_alone(monkeypatch) -> None:
    monkeypatch.setattr(interference, "MAX_SECONDS", 0.0)
    assert interference.interference(machine.own_cores()[:1]) is None
