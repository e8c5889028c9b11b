"""A process that has imported optbench already, and forks one run for every line it reads.

A run that starts here spends no seconds on imports, nor does its fork server, which is forked as well; apart from that
it is `python -m optbench`. It is a session of its own, as a terminal's job is. Standard input: one JSON object a line
with the keys `id`, `arguments`, `stdout`, `stderr` and `environment`. Standard output: "ready SECONDS", then "started
ID PID" and "ended PID STATUS" as they happen; a run that a signal ended has the negative number of the signal for its
status.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import util
from typing import Any

import optbench

PACKAGES = ("core", "engine", "registry", "execution", "records", "report")  # what a run imports sooner or later
# and what it imports in functions
LATER: tuple[str, ...] = ("torch._dynamo", "torch.fx.experimental.proxy_tensor")
DRAWS = "optbench.report.figures"  # which no run imports
FORK_SERVER = "fork server"  # what a forked one is called, for its command line is that of the warm process
_PR_SET_NAME = 15  # of Linux's prctl
POLL = 0.01  # seconds between two looks at whether a run has ended


_spawn = util.spawnv_passfds


def main() -> None:
    """Serve until standard input ends; runs that still go on then are killed, with all they started.

    In a forked child this returns, so that the run ends as any interpreter does.
    """
    began = time.monotonic()
    _import_everything()
    _tell(f"ready {time.monotonic() - began:.3f}")
    waiting, running = b"", set[int]()
    while True:
        if select.select([0], [], [], POLL)[0]:
            chunk = os.read(0, 65536)
            if not chunk:
                break
            *lines, waiting = (waiting + chunk).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return _become(request)
                running.add(pid)
                _tell(f"started {request['id']} {pid}")
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                running.discard(ended[0])
                _tell(f"ended {ended[0]} {os.waitstatus_to_exitcode(ended[1])}")
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os._exit(0)


def _import_everything() -> None:
    for module in pkgutil.walk_packages(optbench.__path__, "optbench."):
        if module.name.split(".")[1] in PACKAGES and not module.name.startswith(DRAWS):
            with contextlib.suppress(ImportError):  # what needs an extra that is not installed
                importlib.import_module(module.name)
    for name in LATER:
        importlib.import_module(name)


def _tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def _become(request: dict[str, Any]) -> None:
    """Be `python -m optbench ARGUMENTS` to the end."""
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, file in ((0, quiet), (1, os.open(request["stdout"], flags)), (2, os.open(request["stderr"], flags))):
        os.dup2(file, number)
        os.close(file)
    os.environ.update(request["environment"])
    util.spawnv_passfds = _spawned  # type: ignore[assignment]  # what it takes is spelled out in typeshed
    sys.argv = ["optbench", *request["arguments"]]
    runpy.run_module("optbench", run_name="__main__", alter_sys=True)


def _spawned(path: bytes, args: Sequence[Any], descriptors: Sequence[int]) -> int:
    """What multiprocessing starts its helpers with; the fork server is forked, with no more than it would inherit."""
    if "multiprocessing.forkserver" not in args[-1] or sys.platform != "linux":
        return _spawn(path, args, descriptors)
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, FORK_SERVER.encode(), 0, 0, 0)
        kept = {0, 1, 2, *descriptors}
        for number in map(int, os.listdir("/proc/self/fd")):
            if number not in kept:
                with contextlib.suppress(OSError):
                    os.close(number)
        exec(args[-1], {"__name__": "__main__"})
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
