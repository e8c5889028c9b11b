"""One worker process as the run sees it: started, given one lane group at a time, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from optbench.execution import worker
from optbench.execution.options import RunOptions
from optbench.execution.start import start_process
from optbench.execution.task import LaneGroup
from optbench.execution.verification import Check

MAX_START_SECONDS = 120.0  # that a worker may take until it can work, whatever a trial may take
MAX_MESSAGE_BYTES = 8192  # of what a worker says; records go through a file
_JOIN_SECONDS = 5.0  # that a killed process may take to be gone


@dataclass(frozen=True)
class Job:
    """A lane group, or a check of one, under way in a worker, and the files that the worker writes: what it measures,
    and its records.
    """

    work: LaneGroup | Check
    points: Path
    records: Path
    began: float  # of the monotonic clock
    until: float

    @property
    def group(self) -> LaneGroup:
        return self.work.group if isinstance(self.work, Check) else self.work


class WorkerProcess:
    """A process of its own pipe, so that what it had is known whenever and however it ends.

    files: the plugin files that it imports. core: the logical processor that it stays on.
    Raises OSError or RuntimeError where no process can be started.
    """

    def __init__(self, options: RunOptions, files: tuple[str, ...], threads: int, core: int | None = None) -> None:
        self.core = core
        self.connection: Connection
        self.connection, theirs = Pipe()
        self.job: Job | None = None
        self.ready = False
        self.until = time.monotonic() + max(MAX_START_SECONDS, options.timeout)  # of starting
        try:
            self._process = start_process(worker.serve, (theirs, options, files, os.getpid(), threads, core))
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        self._known: psutil.Process | None = None  # also where whoever started it is gone; never another of its number
        with contextlib.suppress(psutil.Error):
            self._known = psutil.Process(self._process.pid)

    @property
    def sentinel(self) -> int:
        """What `multiprocessing.connection.wait` takes; ready when the process has ended."""
        return int(self._process.sentinel)

    def give(self, job: Job) -> None:
        """Send a group to a worker that is ready. Raises OSError where it is gone."""
        self.job = job
        self.connection.send((job.work, str(job.points), str(job.records)))

    def heard(self) -> dict[str, Any] | None:
        """The next message that waits; None where the worker has ended, or said what no worker says."""
        try:
            if not self.connection.poll():
                return None
            message = json.loads(self.connection.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError, ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None

    def is_stopped(self) -> bool:
        """Whether somebody has suspended the process."""
        try:
            return self._known is not None and self._known.status() == psutil.STATUS_STOPPED
        except psutil.Error:
            return False

    def exit_code(self) -> int | None:
        """How a process ended whose end was noticed; None where it goes on and only whoever started it is gone."""
        self._process.join(_JOIN_SECONDS)
        code: int | None = self._process.exitcode
        if code is None or code == 255:  # 255 is also what is read where the fork server was killed
            with contextlib.suppress(psutil.Error):
                if self._known and self._known.is_running() and self._known.status() != psutil.STATUS_ZOMBIE:
                    return None
        return code

    def end(self) -> None:
        """Kill the process and free what it took here."""
        self.connection.close()
        with contextlib.suppress(psutil.Error):
            if self._known:
                self._known.kill()
        self._process.join(_JOIN_SECONDS)
        with contextlib.suppress(ValueError):
            self._process.close()
