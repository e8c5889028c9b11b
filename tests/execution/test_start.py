"""How workers start: from any script, on any system; and what is left when they do not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import optbench
from optbench.execution.executor import ExecutorError
from optbench.records.files import read_records

SCRIPT = """
from dataclasses import dataclass
import optbench

@dataclass(frozen=True)
class Mine:
    needs = "value"
    def minimise(self, f):
        while True:
            f.value(f.start(2))

first = optbench.run(problems=["sphere"], optimizers=[Mine, "random_search"], seeds=1, passes=10, out="a")
again = optbench.run(problems=["sphere"], optimizers=["random_search"], seeds=2, passes=10, out="b", workers=1)
print("ended", *(record.status for record in (*first, *again)))
"""

NO_UNIX = """
import multiprocessing, signal, sys
import psutil  # on Linux it imports `resource` itself
sys.modules["resource"] = None
multiprocessing.get_all_start_methods = lambda: ["spawn"]
del signal.pthread_sigmask
"""

ONLY_AT_HOME = """
from dataclasses import dataclass
from pathlib import Path
mark = Path(__file__).with_name("described")
if mark.exists():
    raise RuntimeError("not in a worker")
mark.touch()

@dataclass(frozen=True)
class Mine:
    needs = "value"
    def minimise(self, f):
        f.value(f.start(2))
"""


def test_a_script_without_a_guard_runs_twice_with_a_class_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ended spent spent spent spent"
    assert {record.optimizer for record in read_records(tmp_path / "a")[0]} == {"mine", "random_search"}


def test_a_system_without_fork_server_signal_masks_and_resource_runs_a_trial(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_UNIX)
    (tmp_path / "script.py").write_text(
        'import optbench\nprint(optbench.run(problems=["sphere"], optimizers=["adam"], seeds=1, passes=5)[0].status)\n'
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "spent", done.stderr


def test_workers_that_cannot_start_leave_no_record_and_say_why(tmp_path: Path) -> None:
    plugin = tmp_path / "home.py"
    plugin.write_text(ONLY_AT_HOME)
    with pytest.raises(ExecutorError, match="not in a worker") as failed:
        optbench.run(
            problems=["sphere"], optimizers=["mine"], seeds=2, plugins=[plugin], out=tmp_path / "out", workers=1
        )
    assert "\n" not in str(failed.value)
    assert read_records(tmp_path / "out") == ([], [])
    assert not (tmp_path / "out" / ".spool").exists()


def test_the_smallest_run_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """scipy.stats alone takes half a second; one trial is compared with nothing."""
    unneeded = ("scipy.stats", "scipy.optimize", "seaborn", "sklearn", "plotly", "optuna")
    request = ["run", "--problem", "sphere", "--optimizer", "adam", "--seeds", "1", "--out", str(tmp_path / "r")]
    code = "import sys; from optbench.cli import main; "
    code += f"assert main({request}) == 0; assert not sys.modules.keys() & {set(unneeded)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "report.html").is_file()


def test_a_cache_folder_of_torch_that_cannot_be_made_is_said_once_and_another_is_taken(tmp_path: Path) -> None:
    """torch._dynamo makes it as it is imported, and does not load where it cannot."""
    file = tmp_path / "file"
    file.touch()
    line = [sys.executable, "-m", "optbench", "run", "--problem", "line_mse", "--optimizer", "adam", "--seeds", "3"]
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(file / "cache"), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*line, "--timing", "none", "--passes", "60"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("cannot be made (Not a directory)") == 1
    assert {record.status for record in read_records(tmp_path / "results" / "adam_on_line_mse")[0]} == {"spent"}
