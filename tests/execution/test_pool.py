"""Faults of the machine are never results: lost workers, a killed fork server, folders that take no files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers.plugins import quiet

from optbench.core.trial import Trial
from optbench.execution import worker
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.execution.pool import PoolExecutor
from optbench.execution.runner import run_suite
from optbench.execution.salvage import read_answer, read_points
from optbench.execution.suite import Suite
from optbench.execution.task import LaneGroup, resolve
from optbench.execution.worker_process import WorkerProcess
from optbench.records.files import read_records
from optbench.records.schema import Record, RecordError
from optbench.registry.catalog import Catalog

HEAD = "import os\nfrom dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Odd:\n    needs = 'value'\n\n"
SUITE = Suite("s", ("sphere_2d",), ("adam", "sgd"), seeds=2, passes=20, timing=False)
posix = pytest.mark.skipif(os.name != "posix", reason="signals of a Unix system")


def odd(tmp_path: Path, body: str, **suite: Any) -> list[Record]:
    """The records of an optimizer whose `minimise` has this body."""
    plugin = tmp_path / "odd.py"
    plugin.write_text(HEAD + f"    def minimise(self, f):\n        {body}\n")
    asked = Suite("s", ("sphere_2d",), ("odd",), **{"seeds": 1, "passes": 20, "timing": False, **suite})
    return run_suite(asked, tmp_path / "out", RunOptions(workers=1, plugins=(str(plugin),)), quiet)


def after_giving(monkeypatch: pytest.MonkeyPatch, act: Callable[[WorkerProcess, int], None]) -> None:
    """From now on `act` is called with a worker that was given a group, and how many groups were given before."""
    give, count = WorkerProcess.give, iter(range(10**6))

    def given(self: WorkerProcess, job: Any) -> None:
        give(self, job)
        act(self, next(count))

    monkeypatch.setattr(WorkerProcess, "give", given)


def kill(one: WorkerProcess) -> None:
    with contextlib.suppress(psutil.Error):
        psutil.Process(one._process.pid).kill()


def told(records: list[Record]) -> list[tuple[Any, ...]]:
    """What no clock decides."""
    points = [[{name: v for name, v in point.items() if name != "seconds"} for point in r.curve] for r in records]
    return [(r.key, r.status, r.error, r.forward, r.backward, curve) for r, curve in zip(records, points, strict=True)]


@posix
def test_a_worker_that_is_killed_once_changes_nothing(tmp_path, monkeypatch) -> None:
    whole = run_suite(SUITE, tmp_path / "whole", RunOptions(workers=1), quiet)
    after_giving(monkeypatch, lambda one, count: kill(one) if count == 1 else None)
    assert told(run_suite(SUITE, tmp_path / "out", RunOptions(workers=1), quiet)) == told(whole)


@posix
def test_our_own_methods_are_never_recorded_as_killed(tmp_path, monkeypatch) -> None:
    after_giving(monkeypatch, lambda one, count: kill(one))
    with pytest.raises(ExecutorError, match=r"lost 2 times.*signal 9.*goes on") as error:
        run_suite(SUITE, tmp_path / "out", RunOptions(workers=1), quiet)
    assert "\n" not in str(error.value) and read_records(tmp_path / "out") == ([], [])
    assert not (tmp_path / "out" / ".spool").exists()
    monkeypatch.undo()
    records = run_suite(SUITE, tmp_path / "out", RunOptions(workers=1), quiet)
    assert {record.status for record in records} == {"spent"}


@posix
def test_an_idle_worker_that_is_killed_costs_nothing(tmp_path) -> None:
    catalog, trial = Catalog(), Trial("sphere_2d", "adam", (), 0, 20.0)
    executor = PoolExecutor(catalog, RunOptions(), tmp_path / "spool", 1)
    try:
        executor.submit([LaneGroup((trial,))])
        for first in executor.outcomes():
            assert first.records[0].status == "spent"
        (idle,) = executor._workers
        kill(idle)
        executor.submit([LaneGroup((trial,))])
        assert [outcome.records[0].status for outcome in executor.outcomes()] == ["spent"]
    finally:
        executor.close()


@posix
def test_a_killed_fork_server_is_started_again(tmp_path, monkeypatch) -> None:
    def kill_server(one: WorkerProcess, count: int) -> None:
        if count == 1:
            psutil.Process(forkserver._forkserver._forkserver_pid).kill()  # type: ignore[attr-defined]
            time.sleep(0.1)

    after_giving(monkeypatch, kill_server)
    records = run_suite(SUITE, tmp_path / "out", RunOptions(workers=2, lanes=1), quiet)
    assert {record.status for record in records} == {"spent"} and len(records) == 4, [r.error for r in records]


def test_an_exit_with_code_0_is_seen_at_once(tmp_path) -> None:
    began = time.monotonic()
    (record,) = odd(tmp_path, "f.value(f.start(2)); os._exit(0)", timeout=200)
    assert (record.status, record.error) == ("killed", "exited its process with code 0") and record.curve
    assert record.wall_seconds < 60 and time.monotonic() - began < 150


def test_a_worker_lost_by_accident_is_no_record(tmp_path) -> None:
    mark = tmp_path / "mark"
    body = f"\n        if not os.path.exists({str(mark)!r}):\n            open({str(mark)!r}, 'w').close(); os._exit(3)"
    (record,) = odd(tmp_path, body + "\n        while True: f.value(f.start(2))")
    assert (record.status, record.error) == ("spent", None)


def test_a_clock_that_is_set_ends_no_trial(tmp_path, monkeypatch) -> None:
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + 1e5 * next(calls))
    records = run_suite(SUITE, tmp_path / "out", RunOptions(workers=1), quiet)
    assert {record.status for record in records} == {"spent"}


@posix
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), 19)", "its process was stopped"),
        ("import time; os.kill(os.getppid(), 9); time.sleep(60)", "the process that starts workers was lost"),
    ],
)
def test_a_plugin_that_stops_itself_or_kills_the_fork_server_costs_its_own_trial_alone(
    body: str, reason: str, tmp_path
) -> None:
    (record,) = odd(tmp_path, body, timeout=6)
    assert record.status in ("killed", "timeout"), record.error
    assert record.status == "timeout" or reason in str(record.error)


@posix
def test_children_that_a_plugin_leaves_end_with_its_process(tmp_path) -> None:
    mark = tmp_path / "child"
    lines = (
        "import time; child = os.fork()",
        "if not child: time.sleep(600)",
        f"open({str(mark)!r}, 'w').write(str(child))",
    )
    body = "".join(f"\n        {line}" for line in lines)
    (record,) = odd(tmp_path, body + "\n        while True: f.value(f.start(2))")
    assert record.status == "spent", record.error
    child = int(mark.read_text())
    gone = time.monotonic() + 10
    while (
        psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE and time.monotonic() < gone
    ):
        time.sleep(0.05)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


@posix
def test_a_process_that_ends_by_itself_takes_with_it_what_was_started_from_it() -> None:
    """Afterwards nobody would find them: a worker that the run no longer needs, or whose run was killed."""
    program = (
        "import os, time\nfrom optbench.execution.offspring import leave\n"
        "for _ in range(2):\n    if not os.fork():\n        os.write(1, b'%d\\n' % os.getpid())\n"
        "        time.sleep(600)\n"
        "time.sleep(0.5)\nleave(5)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 5 and len(ended.stdout.split()) == 2
    for child in map(int, ended.stdout.split()):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(child).wait(10)


def test_a_run_that_was_suspended_gives_its_trials_the_time_back(tmp_path, monkeypatch) -> None:
    """Ctrl-Z stops the run and its workers; when it goes on, no trial has been silent for longer than it may."""
    from optbench.execution import pool

    real, stopped = pool.wait, iter([True])

    def suspended(objects: Any, timeout: float) -> Any:
        if next(stopped, False):
            moved.append(1000.0)
            return []
        return real(objects, timeout)

    moved = [0.0]
    clock = time.monotonic
    monkeypatch.setattr(pool, "wait", suspended)
    monkeypatch.setattr(pool.time, "monotonic", lambda: clock() + sum(moved))
    suite = Suite("s", ("sphere_2d",), ("adam",), seeds=2, passes=20, timeout=100.0)
    records = run_suite(suite, tmp_path / "out", RunOptions(workers=1, lanes=1), quiet)
    assert {record.status for record in records} == {"spent"}, [record.error for record in records]


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)", "GeneratorExit"])
def test_what_a_plugin_raises_ends_its_own_trial_alone(error: str, tmp_path) -> None:
    (record,) = odd(tmp_path, f"raise {error}")
    assert record.status == "failed" and record.error and error.partition("(")[0] in record.error


def test_a_plugin_that_raises_stop_itself_has_failed(tmp_path) -> None:
    (record,) = odd(tmp_path, "from optbench.core.objective import Stop; raise Stop")
    assert (record.status, record.error) == ("failed", "raised Stop itself, with budget left")


def test_an_exception_without_text_and_half_characters_are_recorded(tmp_path) -> None:
    body = "\n        class Bad(Exception):\n            def __str__(self): raise ValueError\n        raise Bad"
    (record,) = odd(tmp_path, body)
    assert record.status == "failed" and "its text cannot be read (ValueError)" in str(record.error)
    (tmp_path / "b").mkdir()
    (record,) = odd(tmp_path / "b", r"raise RuntimeError('a\ud800b')")
    assert record.error and "a?b" in record.error
    record.error.encode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_result_of_the_optimizer(monkeypatch) -> None:
    monkeypatch.setattr(worker, "_catalog", Catalog(), raising=False)
    monkeypatch.setattr(worker, "_options", RunOptions(), raising=False)
    streams = worker.sys.stdout, worker.sys.stderr
    try:
        with pytest.raises(worker.MachineError, match="No space left"):
            worker.work(LaneGroup((Trial("sphere_2d", "adam", (), 0, 20.0),)), Path("/dev/full"))
    finally:
        worker.sys.stdout, worker.sys.stderr = streams


def test_a_folder_that_takes_no_files_stops_the_run_in_one_line(tmp_path) -> None:
    (tmp_path / "file").touch()
    executor = PoolExecutor(Catalog(), RunOptions(), tmp_path / "file" / "spool", 1)
    executor.submit([LaneGroup((Trial("sphere_2d", "adam", (), 0, 20.0),))])
    with pytest.raises(ExecutorError, match=r"Not a directory.*goes on"):
        next(executor.outcomes())
    executor.close()


def test_what_a_worker_wrote_is_checked(tmp_path) -> None:
    path = tmp_path / "points"
    good = '[0, {"passes": 1.0, "loss": 2.0}]\n'
    path.write_bytes(b'[7, {"loss": 1.0}]\n[-1, {"loss": 1.0}]\n[0, {"loss": "x"}]\n[true, {"loss": 1}]\n[0]\n\xff\n')
    with path.open("a") as file:
        file.write("[" * 100_000 + "\n" + good + '[0, {"pas')
    assert read_points(path, 1) == [[{"passes": 1.0, "loss": 2.0}]]
    group = LaneGroup((Trial("sphere_2d", "adam", (), 0, 20.0),))
    record = resolve(group.trials, Catalog())[0].record("spent")
    path.write_text(record.line() + "\n")
    assert read_answer(path, group) == [record]
    for text in ("", record.line() + "\n" + record.line(), record.line().replace(record.key, "x"), "{}", "\ud800"):
        path.write_text(text, errors="replace")
        with pytest.raises(RecordError):
            read_answer(path, group)
    with pytest.raises(RecordError):
        read_answer(tmp_path / "none", group)
