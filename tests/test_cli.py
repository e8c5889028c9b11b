"""The command line and the package: what a user meets first."""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import json
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import optbench
from optbench.cli import main, parser
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.records.schema import Record

Capture = pytest.CaptureFixture[str]


def test_the_version_is_stated_once(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    version = importlib.metadata.version("optbench")
    assert capsys.readouterr().out.strip() == f"optbench {version}" and optbench.__version__ == version


def test_the_package_shows_its_functions_with_their_arguments_and_imports_nothing_heavy() -> None:
    code = "import sys, optbench; assert not {'torch', 'pandas', 'numpy'} & sys.modules.keys(); help(optbench)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "run(" in told and "retry_failed: 'bool'" in told and "compare(" in told and "load(folder" in told
    assert {"problems", "optimizers", "timeout", "add"} <= inspect.signature(optbench.run).parameters.keys()
    for name in ("Problem", "Best", "Splits", "split", "Objective"):
        assert getattr(optbench, name).__module__.startswith("optbench.core")


def test_no_module_has_the_name_of_a_public_function() -> None:
    for package in [optbench, *(__import__(f"optbench.{name}", fromlist=["_"]) for name in ("report", "problems"))]:
        modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
        functions = {name for name, item in vars(package).items() if inspect.isfunction(item)}
        assert not modules & {*functions, *getattr(package, "__all__", ())}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --workers 0", "--workers 0 must be at least 1"),
        ("run mine.toml", "suite mine.toml: no such file"),
        ("run --problem mlp_iris --optimizer adam[learning_rate=1]", "did you mean 'lr'?"),
        ("list optimizers --family swam", "did you mean 'swarm'?"),
        ("list --track supervisd", "invalid choice"),
        ("new optimizer mine --out there", "unrecognized arguments: --out there; `python -m optbench --help` shows"),
        ("watch nope", "unknown problem 'nope', the nearest is 'sphere'; `python -m optbench list` shows"),
        ("run --problem nope", "unknown problem 'nope', the nearest is 'sphere'; `python -m optbench list` shows"),
        ("data nope", "no data set 'nope', the nearest is 'svhn'; there are mnist"),
        ("watc rastrigin", "did you mean 'watch'?"),
    ],
)
def test_a_bad_request_is_refused_in_one_line(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments.split(), *(["-q"] if arguments.startswith("run") else [])]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_list_is_filtered(capsys: Capture) -> None:
    def listed(*arguments: str) -> dict[str, list[dict[str, str]]]:
        assert main(["list", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert listed().keys() == {"problems", "optimizers", "suites"}
    supervised = listed("problems", "--track", "supervised")
    assert supervised.keys() == {"problems"} and {row["kind"] for row in supervised["problems"]} == {"supervised"}
    assert {"pso", "spso2011"} <= {row["name"] for row in listed("--family", "swarm")["optimizers"]}
    assert {row["name"] for row in listed("suites", "QUICK")["suites"]} == {"quick"}


def test_the_help_has_examples_and_exit_codes(capsys: Capture) -> None:
    for command in ("run", "report", "list"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        told = capsys.readouterr().out
        assert "examples:" in told and "exit codes:" in told


def test_a_run_in_which_nothing_succeeds_exits_1_and_a_quiet_one_prints_its_verdict(
    tmp_path: Path, capsys: Capture
) -> None:
    small = ["--seeds", "1", "--passes", "5", "-q"]
    run = ["run", "--problem", "sphere", "--optimizer"]
    assert main([*run, "dp_step", *small, "--out", str(tmp_path / "a")]) == 1
    assert "none of the 1 trials succeeded: dp_step on sphere: needs 'exact'" in capsys.readouterr().err
    assert main([*run, "random_search", *small, "--out", str(tmp_path / "b")]) == 0
    told = capsys.readouterr()
    assert told.err == "" and "report: " in told.out and "trials in" not in told.out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libscipy_openblas.so: failed to map segment from shared object"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    ],
)
def test_a_machine_without_memory_ends_a_command_in_one_line(
    error: Exception, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise error

    monkeypatch.setattr("optbench.commands.plugins._list", fails)
    assert main(["list"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no memory is left" in told


def test_a_machine_that_starts_no_process_ends_any_command_in_one_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise ExecutorError("no process can be started: Too many open files")

    monkeypatch.setattr("optbench.commands.archive._verify", fails)
    assert main(["archive", "verify", "x"]) == 2
    assert capsys.readouterr().err == "optbench: no process can be started: Too many open files\n"


def test_other_errors_of_a_command_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr("optbench.commands.plugins._list", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["list"])


def test_what_fails_as_the_interpreter_ends_adds_no_traceback_to_the_line_of_a_refusal() -> None:
    """A folder of multiprocessing's, for instance, cannot be listed without memory."""
    program = (
        "import sys\nfrom multiprocessing.util import Finalize\nfrom optbench.__main__ import command\n"
        "def fails(): raise OSError(12, 'Cannot allocate memory', '/tmp/pymp-1')\n"
        "Finalize(None, fails, exitpriority=-100)\nsys.exit(command())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "report", "nowhere"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("optbench: ") and ended.stderr.count("\n") == 1, ended.stderr


OTHERWISE = {  # an option of `run`, and a value that is not its default
    "--problem": "xor_sign",
    "--optimizer": "pso",
    "--seeds": "7",
    "--splits": "3",
    "--passes": "9",
    "--steps": "9",
    "--seconds": "9",
    "--until": "0.5",
    "--tune": "5",
    "--timing": "none",
    "--timeout": "77",
    "--memory": "3",
    "--workers": "3",
    "--cluster": "local:2",
    "--cluster-wait": "7",
    "--lanes": "3",
    "--precision": "bf16",
    "--device": "auto",
}
ELSEWHERE = {"--help", "--out", "--against", "--strict", "--trust", "--plugin"}  # they change more than a plan, or less
OWN_DATA = {"--model", "--data", "--target", "--loss", "--batch"}  # tests/own/test_files.py


def test_every_option_of_run_reaches_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[object] = []

    def run_suite(suite: object, folder: Path, how: RunOptions, say: object) -> list[Record]:
        seen.append((suite, folder, replace(how, command="")))
        return []

    monkeypatch.setattr("optbench.execution.runner.run_suite", run_suite)
    monkeypatch.setattr("optbench.execution.start.start_fork_server", lambda: None)
    monkeypatch.setattr("optbench.report.write", lambda *_: SimpleNamespace(in_short=[], regressions=[], html=""))
    (tmp_path / "plain").mkdir()
    plain = ["run", "quick", "--out", "plain"]
    main(plain)
    commands = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    for option in (one for one in commands.choices["run"]._actions if one.option_strings):
        flag = option.option_strings[-1]
        if flag not in ELSEWHERE | OWN_DATA:
            main([*plain, flag, *([] if option.nargs == 0 else [OTHERWISE[flag]])])
            assert seen[-1] != seen[0], f"{flag} changes nothing"
    assert len(seen) > 20
