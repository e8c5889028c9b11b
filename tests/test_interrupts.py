"""Ctrl-C at any moment of a command: exit code 130 and one line, never a traceback and never the signal itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from optbench.__main__ import MESSAGE
from optbench.testing.faults.launch import Launcher
from optbench.testing.faults.verify import TRACEBACK

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows sends no process an interrupt of its own")

BEGIN = "import signal, sys\nfrom optbench.__main__ import Interrupts\ndef me(): signal.raise_signal(signal.SIGINT)\n"
END = "\nsys.exit(Interrupts().exit_code(command))"
RUN = "import sys\nfrom optbench.__main__ import command\nprint('begun', flush=True)\nsys.exit(command())"
MOMENTS = int(os.environ.get("OPTBENCH_MOMENTS", "50"))
TINY = 'problems = ["sphere_2d"]\noptimizers = ["adam", "sgd"]\nseeds = 2\npasses = 20\n'


@pytest.mark.parametrize(
    ("moment", "code", "lines"),
    {
        "in the command": ("def command(): me(); return 0", 130, 1),
        "swallowed, then an error of it": (
            "def command():\n try: me()\n except BaseException: raise ImportError('numpy is half there') from None",
            130,
            1,
        ),
        "an error of it that is refused": ("def command():\n try: me()\n except BaseException: return 2", 130, 1),
        "swallowed, and all was done": ("def command():\n try: me()\n except BaseException: return 0", 0, 0),
        "twice": (
            "import time\ndef command():\n try: me()\n finally: me(); time.sleep(9)",
            130,
            1,
        ),
        "in a destructor": (
            "import time\nclass A:\n def __del__(self): me()\ndef command(): A(); time.sleep(9); return 0",
            130,
            1,
        ),
        "while the interpreter ends": ("import atexit\natexit.register(me)\ndef command(): return 0", 0, 0),
        "while a module is imported, whatever waits for it": (
            "def command():\n open('loaded.py', 'w').write('import __main__; __main__.me()')\n"
            " try: import loaded\n except BaseException: return 0",
            130,
            1,
        ),
        "in the text of an exec": ("def command(): exec('me()')", 130, 1),
        "not at all": ("def command(): return 1", 1, 0),
    }.values(),
)
def test_an_interrupt_is_one_line_wherever_it_comes(moment: str, code: int, lines: int, tmp_path: Path) -> None:
    ended = module(moment, tmp_path)
    assert (ended.returncode, ended.stderr) == (code, MESSAGE * lines)


def test_what_is_no_interrupt_is_raised(tmp_path: Path) -> None:
    ended = module("def command(): raise ValueError('of its own')", tmp_path)
    assert ended.returncode == 1 and "ValueError: of its own" in ended.stderr


def module(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """How `python -m` ends with this command; a script or `-c` leaves the interpreter by another way."""
    (folder / "moment.py").write_text(BEGIN + command + END, encoding="utf-8")
    run = [sys.executable, "-m", "moment"]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=60)


def told_wrong(code: int | None, out: str, err: str) -> str:
    """What is wrong with how an interrupted run ended; nothing where all is well."""
    if TRACEBACK in out + err or "Exception ignored" in err:
        return f"exit code {code}: {err}"
    if code == 130:
        return "" if err.endswith(MESSAGE) and err.count("optbench:") == 1 else f"130, but: {err}"
    return "" if code == 0 and "report:" in out else f"exit code {code}: {out}{err}"


def interrupted_cold(folder: Path, seconds: float, again: float | None = None) -> tuple[float, str]:
    """A tiny run and its report in a new interpreter, interrupted so long after its first line: seconds that it took,
    and what is wrong with how it ended.
    """
    command = [sys.executable, "-c", RUN, *arguments(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as run:
        assert run.stdout
        run.stdout.readline()
        began = time.monotonic()
        interrupt(run.pid, lambda: run.poll() is None, seconds, again)
        out, err = run.communicate(timeout=120)
        return time.monotonic() - began, told_wrong(run.returncode, out, err)


def interrupted_warm(launcher: Launcher, folder: Path, seconds: float, again: float | None = None) -> tuple[float, str]:
    """The same in a process that has imported everything."""
    folder.mkdir()
    run = launcher.start(arguments(folder / "out"), folder)
    while run.poll() is None and not run.begun:
        time.sleep(0.001)
    began = time.monotonic()
    interrupt(run.pid, lambda: run.poll() is None, seconds, again)
    code = run.wait(120)
    took = time.monotonic() - began
    wrong = told_wrong(code, run.stdout.read_text(), run.stderr.read_text())
    if left := run.leftovers():
        wrong += f" {len(left)} processes left"
    run.end()
    return took, wrong


def arguments(folder: Path) -> list[str]:
    suite = folder.with_suffix(".toml")
    suite.write_text(TINY, encoding="utf-8")
    return ["run", str(suite), "--out", str(folder), "--lanes", "1"]


def interrupt(pid: int, alive: Callable[[], bool], seconds: float, again: float | None) -> None:
    for wait in (seconds, *([again] if again is not None else [])):
        until = time.monotonic() + wait
        while alive() and time.monotonic() < until:
            time.sleep(0.001)
        if alive():
            os.kill(pid, signal.SIGINT)


@pytest.mark.campaign
def test_many_moments_of_a_tiny_run(tmp_path: Path) -> None:
    """Over imports, run, report and the end of the interpreter; every tenth is interrupted twice."""
    dice, jobs = random.Random(15), os.cpu_count() or 1
    with Launcher() as launcher, ThreadPoolExecutor(jobs) as threads:
        whole = [interrupted_cold(tmp_path / "cold", 600.0), interrupted_warm(launcher, tmp_path / "warm", 600.0)]
        assert not any(wrong for _, wrong in whole), whole
        (cold, _), (warm, _) = whole

        def one(number: int) -> tuple[float, str]:
            again = dice.uniform(0, 0.3) if number % 10 == 0 else None
            if number % 5:
                return interrupted_warm(launcher, tmp_path / f"{number}", dice.uniform(0, 1.1 * warm), again)
            return interrupted_cold(tmp_path / f"{number}", dice.uniform(0, 1.1 * cold), again)

        wrong = [told for _, told in threads.map(one, range(MOMENTS)) if told]
        assert not wrong, f"{len(wrong)} of {MOMENTS}: " + "; ".join(wrong[:3])
