"""One worker process as the run sees it: started, given one lane group at a time, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from optbench.execution import guest, worker
from optbench.execution.host import EXIT_GUEST
from optbench.execution.offspring import kill
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

    files: the plugin files that it imports. core: the logical processor that it stays on. guests: the files of an
    isolated optimizer, which a second process imports; None where there is none.
    Raises OSError or RuntimeError where no process can be started.
    """

    def __init__(
        self,
        options: RunOptions,
        files: tuple[str, ...],
        threads: int,
        core: int | None = None,
        guests: tuple[str, ...] | None = None,
    ) -> None:
        self.core = core
        self.connection: Connection
        self.connection, theirs = Pipe()
        self.job: Job | None = None
        self.ready = False
        self._guest: Any = None  # the process of an isolated optimizer
        self.until = time.monotonic() + max(MAX_START_SECONDS, options.timeout)  # of starting
        try:
            own, other = Pipe() if guests is not None else (None, None)
            try:
                begun = worker.Begun(options, files, os.getpid(), threads, core)
                if other is not None and guests is not None:
                    self._guest = start_process(guest.serve, (other, begun._replace(files=guests)))
                self._process = start_process(worker.serve, (theirs, begun, own))
            finally:
                for end in (own, other):
                    if end is not None:
                        end.close()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()
        # Also where whoever started them is gone; never others of their numbers.
        self._known, self._known_guest = _process(self._process), _process(self._guest)

    @property
    def sentinel(self) -> int:
        """What `multiprocessing.connection.wait` takes; ready when the process has ended."""
        return int(self._process.sentinel)

    def give(self, job: Job) -> None:
        """Send a group to a worker that is ready. Raises OSError where it is gone."""
        self.job = job
        self.connection.send((job.work, str(job.points), str(job.records)))

    def allow(self, seconds: float) -> None:
        """Let it take so much longer."""
        self.until += seconds
        if self.job:
            self.job = replace(self.job, until=self.job.until + seconds)

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
        return any(_is_stopped(one) for one in (self._known, self._known_guest))

    def exit_code(self) -> int | None:
        """How a process ended whose end was noticed; None where it goes on and only whoever started it is gone."""
        self._process.join(_JOIN_SECONDS)
        code: int | None = self._process.exitcode
        if code == EXIT_GUEST and self._guest is not None:
            self._guest.join(_JOIN_SECONDS)
            code = self._guest.exitcode
        if code is None or code == 255:  # 255 is also what is read where the fork server was killed
            with contextlib.suppress(psutil.Error):
                if self._known and self._known.is_running() and self._known.status() != psutil.STATUS_ZOMBIE:
                    return None
        return code

    def end(self) -> None:
        """Kill the process and free what it took here."""
        both = (self._known, self._process), (self._known_guest, self._guest)
        for known, _ in both:
            if known:
                kill(known)
        self.connection.close()  # not before: a process that hears it ends by itself
        for _, process in both:
            if process is not None:
                process.join(_JOIN_SECONDS)
                with contextlib.suppress(ValueError):
                    process.close()


def _process(started: Any) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(started.pid) if started is not None else None
    return None


def _is_stopped(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False
