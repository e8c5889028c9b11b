"""How a command ended, and that nothing of it is left."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

import psutil

from optbench.testing.faults.launch import Run
from optbench.testing.faults.verify import check_ending, check_leftovers


def failures_of(run: Run, code: int | None, allowed: Collection[int]) -> list[str]:
    """What is wrong with how a command ended. Whatever is left of it is killed."""
    stalled = f" ({_states(run)})" if code is None else ""
    wrong = check_ending(code, allowed, printed(run))
    if code is not None:
        wrong += check_leftovers([_title(process) for process in run.leftovers()])
    run.end()
    return [text + stalled for text in wrong]


def printed(run: Run) -> str:
    """Everything that a command printed."""
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in (run.stdout, run.stderr))


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[-60:]}"
    return str(process.pid)


def _states(run: Run) -> str:
    """What the processes of a stalled run are doing."""
    found = []
    with contextlib.suppress(psutil.Error, OSError):
        for process in [psutil.Process(run.pid), *run.others()]:
            wait = ""
            with contextlib.suppress(OSError), open(f"/proc/{process.pid}/wchan", encoding="ascii") as file:
                wait = file.read()
            found.append(f"{process.pid} {process.status()} {wait}".strip())
    return "; ".join(found)
