"""Whole runs: plugins that misbehave, runs that are killed, folders that are wrong. Every trial keeps one record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.plugins import HEAD, quiet

import optbench
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records import store
from optbench.records.files import read_environment, read_records
from optbench.records.merge import merge
from optbench.records.schema import Record


def test_a_group_with_one_bad_lane_is_run_again_lane_by_lane(tmp_path) -> None:
    plugin = tmp_path / "half.py"
    plugin.write_text(
        HEAD + "@dataclass(frozen=True)\nclass Half(Base):\n    def minimise(self, f):\n"
        "        if 1 in f._seeds: raise RuntimeError('seed 1')\n        while True: f.value(f.start(2))\n"
    )
    suite = Suite("half", ("sphere",), ("half",), seeds=3, passes=20)
    records = run_suite(suite, tmp_path / "out", RunOptions(workers=1, lanes=3, plugins=(str(plugin),)), quiet)
    assert [(record.seed, record.status) for record in records] == [(0, "spent"), (1, "failed"), (2, "spent")]


def test_lanes_and_workers_give_the_records_of_one_by_one(tmp_path) -> None:
    suite = Suite("s", ("sphere", "mlp_iris"), ("adam", "pso", "nelder_mead"), seeds=3, passes=30)
    plain = run_suite(suite, tmp_path / "a", RunOptions(workers=1), quiet)
    wide = run_suite(suite, tmp_path / "b", RunOptions(workers=2, lanes=2), quiet)
    assert {record.lanes for record in wide} == {1, 2}
    for one, two in zip(plain, wide, strict=True):
        assert (one.key, one.status, one.forward, one.backward) == (two.key, two.status, two.forward, two.backward)
        assert one.curve[-1]["loss"] == pytest.approx(two.curve[-1]["loss"], rel=1e-3)


def test_a_network_that_looks_at_its_values_trains_one_by_one_and_that_is_said_once(tmp_path) -> None:
    """torch.vmap cannot batch it: slower, and never wrong."""
    plugin = tmp_path / "looks.py"
    plugin.write_text(
        "from dataclasses import dataclass\nimport torch\nfrom torch import nn\n"
        "from optbench.problems.line import Line\n\n"
        "class Looks(nn.Linear):\n    def forward(self, x):\n        out = super().forward(x)\n"
        "        return out if float(out.sum()) > 0 else 2 * out\n\n"
        "@dataclass(frozen=True)\nclass Loop(Line):\n    vmaps = False\n    def network(self): return Looks(1, 1)\n"
    )
    suite = Suite("s", ("loop",), ("adam", "pso"), seeds=3, passes=60, timing=0)
    found: dict[int | None, list[Record]] = {}
    said: list[str] = []
    for lanes in (1, 3, None):
        options = RunOptions(workers=1, lanes=lanes, plugins=(str(plugin),), own_process=True)
        found[lanes] = run_suite(suite, tmp_path / str(lanes), options, said.append)
        assert sum("torch.vmap cannot batch" in line for line in said) == (lanes != 1)
        said.clear()
    for records in found.values():
        assert [(one.status, one.error) for one in records if one.optimizer == "adam"] == [("spent", None)] * 3
        assert [one.curve[-1]["loss"] for one in records] == [one.curve[-1]["loss"] for one in found[1]]


def test_running_again_resumes_and_a_changed_source_runs_its_own_again(tmp_path) -> None:
    plugin = tmp_path / "mine.py"
    code = HEAD + "@dataclass(frozen=True)\nclass Mine(Base):\n"
    code += "    def minimise(self, f):\n        f.value(f.start({}))\n"
    plugin.write_text(code.format(2))
    suite = Suite("s", ("sphere",), ("mine", "adam"), seeds=2, passes=20)
    options = RunOptions(workers=1, plugins=(str(plugin),))
    run_suite(suite, tmp_path / "out", options, quiet)
    before = (tmp_path / "out" / "records.jsonl").read_text()
    said: list[str] = []
    run_suite(suite, tmp_path / "out", options, said.append)
    assert (tmp_path / "out" / "records.jsonl").read_text() == before
    assert any("4 of 4 trials have their record" in line for line in said)
    plugin.write_text(code.format(3))
    run_suite(suite, tmp_path / "out", options, said.append)
    after = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    assert any(line.startswith("2 trials run again") for line in said)
    adam = [line for line in before.splitlines() if json.loads(line)["optimizer"] == "adam"]
    assert len(after) == 4 and len(adam) == 2 and set(adam) <= set(after)
    assert {json.loads(line)["evaluations"] for line in after if json.loads(line)["optimizer"] == "mine"} == {3}


def test_lines_that_are_no_records_are_kept_aside_and_their_trials_run(tmp_path) -> None:
    suite = Suite("s", ("sphere",), ("adam",), seeds=3, passes=20)
    run_suite(suite, tmp_path, RunOptions(workers=1), quiet)
    path = tmp_path / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text(lines[0] + "\nhello\n" + lines[1] + "\n" + lines[2][:50])
    said: list[str] = []
    records = run_suite(suite, tmp_path, RunOptions(workers=1), said.append)
    assert "2 lines" in said[0] and "rejected.jsonl" in said[0]
    assert (tmp_path / "rejected.jsonl").read_text().splitlines() == ["hello", lines[2][:50]]
    assert len(records) == 3 and len(read_records(tmp_path)[0]) == 3 and not read_records(tmp_path)[1]


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path) -> None:
    with store.Store(tmp_path / "out"), pytest.raises(RequestError, match="in use by another run"):
        store.Store(tmp_path / "out").__enter__()
    with store.Store(tmp_path / "out"):
        pass


def test_folders_that_cannot_be_used_are_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="holds other files"):
        store.Store(tmp_path)
    with pytest.raises(RequestError, match="is a file"):
        store.Store(tmp_path / "notes.txt")
    with pytest.raises(RequestError, match="Not a directory"):
        store.Store(tmp_path / "notes.txt" / "below")
    with pytest.raises(RequestError, match="cannot write"):
        store.Store(Path("/proc/optbench"))
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RequestError, match="0 MiB free"):
        store.Store(tmp_path / "new")


def test_what_a_run_killed_at_its_start_leaves_does_not_make_the_folder_foreign(tmp_path) -> None:
    for name in (".lock", ".probe", "environment.json.new"):
        (tmp_path / name).touch()
    with store.Store(tmp_path):
        pass


def test_a_disk_that_fills_up_loses_nothing_already_written(tmp_path, monkeypatch) -> None:
    record = Record("k", "sphere", "adam", {}, 0, 1.0, "cpu", "spent")
    with store.Store(tmp_path / "out") as results:
        results.append(record)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store.os, "fsync", full)
        with pytest.raises(store.FullError, match="No space left"):
            results.append(record)
    monkeypatch.undo()
    assert read_records(tmp_path / "out")[0][0] == record


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "no GPU"),
        ({"seeds": 0}, "seeds = 0"),
        ({"passes": -3.0}, "passes = -3"),
        ({"lanes": 0}, "--lanes 0"),
        ({"suite": "nope"}, "unknown suite"),
        ({"plugins": ["missing.py"]}, "no such file"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(options, message, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(RequestError, match=message):
        optbench.run(out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [("import nothing_like_it", "ModuleNotFoundError"), ("def f(:", "SyntaxError"), ("x = 1", "defines no optimizer")],
)
def test_a_plugin_file_that_is_wrong_is_refused(code: str, message: str, tmp_path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    with pytest.raises(RequestError, match=message):
        optbench.run(out=tmp_path / "out", plugins=[str(path)])


def test_an_unsupported_problem_is_recorded_as_inapplicable_with_the_reason(tmp_path) -> None:
    suite = Suite("s", ("sphere", "step_1d"), ("dp_step",), seeds=1, passes=20)
    records = run_suite(suite, tmp_path / "out", RunOptions(workers=1), quiet)
    assert records[0].status == "inapplicable" and "needs 'exact'" in records[0].error and not records[0].curve
    assert records[1].status == "finished" and records[1].certificate["exact"]


def test_the_command_line_says_what_is_wrong_in_one_line_and_exits_2(tmp_path) -> None:
    for arguments in (["run", "quik"], ["run", "--optimizer", "addam"], ["report", "nowhere"], ["check", "addam"]):
        done = subprocess.run([sys.executable, "-m", "optbench", *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("optbench: ") and done.stderr.count("\n") == 1


def test_a_comparison_is_written_where_out_says_and_leaves_the_folders_alone(tmp_path, capsys) -> None:
    suite = Suite("s", ("line_mse",), ("sgd",), seeds=2, passes=3)
    for name in ("a", "b"):
        run_suite(suite, tmp_path / name, RunOptions(workers=1), quiet)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    folders = [str(tmp_path / name) for name in ("a", "b")]
    assert main(["report", *folders, "--out", str(tmp_path / "c" / "d")]) == 0
    assert (tmp_path / "c" / "d" / "report.html").is_file()
    assert before == {path: path.stat().st_mtime_ns for path in before}
    (tmp_path / "file").touch()
    assert main(["report", *folders, "--out", str(tmp_path / "file")]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("runn", "did you mean 'run'?"),
        ("run --lanez 3", "did you mean '--lanes'?"),
        ("run --seeds x", "--seeds: 'x' is not a whole number"),
        ("run --workers 1.5", "--workers: '1.5' is not a whole number"),
        ("run --passes x", "--passes: invalid float value: 'x'"),
        ("run --device tpu", "choose from 'cpu', 'cuda', 'auto'"),
        ("new optimizer 1abc", "no module name"),
        ("new optimizer class", "no module name"),
        ("new optimizer _", "no module name"),
        ("new optimizer ../x", "no module name"),
        ("new optimizer adam", "built-in optimizer"),
        ("new problem sphere", "built-in problem"),
        ("new optimizer torch", "would hide the installed module 'torch'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("optbench: ") and message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_merge_joins_what_several_machines_ran_and_refuses_mixed_versions(tmp_path) -> None:
    for name, optimizer in (("a", "adam"), ("b", "sgd")):
        suite = Suite("s", ("sphere",), (optimizer,), seeds=2, passes=10)
        run_suite(suite, tmp_path / name, RunOptions(workers=1), quiet)
    folders = [tmp_path / "a", tmp_path / "b"]
    assert merge(folders, tmp_path / "c") == 4
    assert set(read_environment(tmp_path / "c")["optimizers"]) == {"adam", "sgd"}
    world = json.loads((tmp_path / "b" / "environment.json").read_text())
    (tmp_path / "b" / "environment.json").write_text(json.dumps(world | {"optbench": "9.9"}))
    with pytest.raises(RequestError, match="different versions"):
        merge(folders, tmp_path / "d")
    assert merge(folders, tmp_path / "d", mixed=True) == 4


def test_new_files_run_and_pass_their_checks(tmp_path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "optbench", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    for kind, name in (("optimizer", "my_method"), ("problem", "my_task_2")):
        assert run("new", kind, name).returncode == 0
        assert run("new", kind, name).returncode == 2
        checked = run("check", f"{name}.py")
        assert checked.returncode == 0, checked.stdout
    assert run("new", "optimizer", "My Method").returncode == 2
    both = ["--plugin", "my_method.py", "--plugin", "my_task_2.py", "--problem", "my_task_2", "--optimizer"]
    done = run("run", *both, "my_method", "--seeds", "1", "--passes", "20", "--out", "out", "--strict")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
