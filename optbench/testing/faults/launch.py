"""Starts runs as child processes, waits for them, and finds every process that belongs to one.

A shell that puts a run in the background would make it ignore SIGINT, so runs start from Python, each a session of its
own. A warm run is forked from a process that has imported optbench; a cold one is a new interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import psutil

from optbench.testing.faults.warm import FORK_SERVER

POLL = 0.01  # seconds between two looks at a process
MAX_READY_SECONDS = 600.0  # for the imports of the warm process, on a machine that is busy
GRACE = 30.0  # seconds after the end of a run within which its other processes must have ended too
SINGLE_THREAD = {"OMP_NUM_THREADS": "1"}


@dataclass
class Run:
    """A command under way. `sid` is its session: every process it started is in there, however it was started."""

    pid: int
    stdout: Path
    stderr: Path
    _launcher: Launcher
    _cold: subprocess.Popen[bytes] | None
    began: float = field(default_factory=time.monotonic)

    @property
    def begun(self) -> bool:
        """Whether it has said its first word; before that it is an interpreter and no command of ours."""
        return self.stdout.is_file() and self.stdout.stat().st_size > 0

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the command goes on."""
        return self._cold.poll() if self._cold else self._launcher.ended(self.pid)

    def wait(self, seconds: float) -> int | None:
        """The exit code, or None where the command still goes on after so many seconds."""
        deadline = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return code

    def others(self) -> list[psutil.Process]:
        """Processes of this run besides the command itself."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                mine = process.pid != self.pid and os.getsid(process.pid) == self.pid
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def fork_server(self) -> psutil.Process | None:
        """The process that the workers are forked from, or None while there is none."""
        for process in self.others():
            with contextlib.suppress(psutil.Error):
                if process.ppid() == self.pid and (
                    process.name() == FORK_SERVER
                    or any("multiprocessing.forkserver" in part for part in process.cmdline())
                ):
                    return process
        return None

    def workers(self) -> list[psutil.Process]:
        """The worker processes that are alive."""
        server = self.fork_server()
        with contextlib.suppress(psutil.Error):
            return server.children() if server else []
        return []

    def leftovers(self, grace: float = GRACE) -> list[psutil.Process]:
        """Processes that are still there some seconds after the command has ended."""
        deadline = time.monotonic() + grace
        while (left := self.others()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def end(self) -> None:
        """Kill whatever is left of it."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        for process in self.others():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.wait(GRACE)


class Launcher:
    """Starts runs. One warm process serves them all; several threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._started: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._count = 0
        self._gone = False  # the warm process has ended
        self.imports = 0.0  # seconds that a cold run spends more than a warm one
        command = [sys.executable, "-m", "optbench.testing.faults.warm"]
        pipe = subprocess.PIPE
        self._warm = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, env=os.environ | SINGLE_THREAD, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._changed:
            ready = self._changed.wait_for(lambda: self.imports > 0 or self._gone, MAX_READY_SECONDS)
            if not ready or self._gone:
                raise RuntimeError("the warm process did not start")

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._warm.stdin:
            self._warm.stdin.close()
        try:
            self._warm.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._warm.kill()
            self._warm.wait()
        self._reader.join(GRACE)
        if self._warm.stdout:
            self._warm.stdout.close()

    def start(
        self, arguments: Sequence[str], logs: Path, cold: bool = False, environment: Mapping[str, str] | None = None
    ) -> Run:
        """Start `python -m optbench ARGUMENTS`; what it prints goes into new files of the folder `logs`."""
        with self._changed:
            self._count += 1
            number = self._count
        out, err = logs / f"stdout_{number}", logs / f"stderr_{number}"
        extra = {**SINGLE_THREAD, **(environment or {})}
        if cold:
            command = [sys.executable, "-m", "optbench", *arguments]
            with out.open("wb") as stdout, err.open("wb") as stderr:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=os.environ | extra,
                    start_new_session=True,
                )
            return Run(process.pid, out, err, self, process)
        request = {"id": number, "arguments": list(arguments), "stdout": str(out), "stderr": str(err)}
        line = json.dumps({**request, "environment": extra}) + "\n"
        with self._changed:
            assert self._warm.stdin
            self._warm.stdin.write(line.encode())
            self._warm.stdin.flush()
            if not self._changed.wait_for(lambda: number in self._started or self._gone, MAX_READY_SECONDS):
                raise RuntimeError("the warm process started no run")
            if number not in self._started:
                raise RuntimeError("the warm process has ended")
            return Run(self._started[number], out, err, self, None)

    def ended(self, pid: int) -> int | None:
        """The exit code of a warm run, None while it goes on."""
        with self._changed:
            return self._codes.get(pid)

    def _read(self) -> None:
        assert self._warm.stdout
        for line in self._warm.stdout:
            what, *numbers = line.decode().split()
            with self._changed:
                if what == "ready":
                    self.imports = float(numbers[0])
                elif what == "started":
                    self._codes.pop(int(numbers[1]), None)
                    self._started[int(numbers[0])] = int(numbers[1])
                else:
                    self._codes[int(numbers[0])] = int(numbers[1])
                self._changed.notify_all()
        with self._changed:
            self._gone = True
            self._changed.notify_all()
