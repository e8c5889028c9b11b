"""Commands on a machine that gives no more files, or no larger ones: exit code 2 and one line, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from optbench.records.schema import RECORDS, Record

resource = pytest.importorskip("resource", reason="this system has no limits of a process that could be lowered")

FILE_SIZE, DESCRIPTORS = "RLIMIT_FSIZE", "RLIMIT_NOFILE"


@pytest.mark.parametrize("command", ["run --problem sphere_2d --out {0}/new", "watch sphere_2d"])
def test_a_working_directory_that_is_gone_is_one_line(command: str, tmp_path: Path) -> None:
    program = (
        "import os, sys\nos.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        f"sys.argv[1:] = {command.format(tmp_path).split()!r}\n"
        "from optbench.__main__ import command\nsys.exit(command())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300
    )
    assert ended.returncode == 2
    assert ended.stderr == "optbench: the working directory has been removed; change to another one\n"


@pytest.mark.parametrize(
    ("command", "limit", "most", "message"),
    [
        (
            "report good",
            FILE_SIZE,
            4096,
            "the report cannot be written into good: File too large; all records are kept",
        ),
        ("merge good --out all", FILE_SIZE, 0, "cannot write to all: File too large"),
        ("export csv good --out csv", FILE_SIZE, 0, "File too large"),
        ("run --problem sphere_2d --optimizer adam --out new", FILE_SIZE, 0, "No usable temporary directory"),
        ("watch sphere_2d --optimizer adam", FILE_SIZE, 0, "No usable temporary directory"),
        ("archive verify good", FILE_SIZE, 0, "No usable temporary directory"),
        ("run --problem mlp_iris --optimizer adam --out new", DESCRIPTORS, 9, "Too many open files"),
    ],
)
def test_a_limit_of_the_machine_is_one_line(command: str, limit: str, most: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    record = Record("a", "sphere_2d", "adam", {}, 0, 1, "cpu", "spent", curve=[{"passes": 1.0, "loss": 0.5}])
    (tmp_path / "good" / RECORDS).write_text(record.line() + "\n")
    before = (tmp_path / "good" / RECORDS).read_bytes()
    ended = subprocess.run(
        [sys.executable, "-m", "optbench", *command.split()],
        preexec_fn=partial(resource.setrlimit, getattr(resource, limit), (most, most)),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        timeout=300,
    )
    assert ended.returncode == 2 and "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("optbench: ") and message in ended.stderr
    assert (tmp_path / "good" / RECORDS).read_bytes() == before
