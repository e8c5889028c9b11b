"""The pool executor, parent side: worker processes, each of which can be timed out or killed by itself.

The parent decides which worker gets which group before it sends it, through one pipe a worker. So it always knows what
a worker had that has ended, and no lock is shared that a killed worker could keep.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from optbench.execution import worker
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.execution.salvage import ended_early, read_answer, read_points
from optbench.execution.task import LaneGroup, Outcome
from optbench.execution.worker_process import Job, WorkerProcess
from optbench.records.schema import RecordError, clean
from optbench.registry.catalog import Catalog

Kind = tuple[tuple[str, ...], tuple[str, ...]]  # the third-party classes of a group, and its plugin files

MAX_LOSSES = 2  # of the worker of one group; then it is no accident
MAX_MACHINE_LOSSES = 4  # where it was certainly not the group that ended it
MAX_FAILED_STARTS = 3  # in a row, of workers that ended before they could work
MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.0, 60.0  # between two looks at the clock


class PoolExecutor:
    """Lane groups through worker processes on this machine.

    What a group had measured when it was stopped is in its records. Other people's code may leave its process changed
    (a default type, a patched function), so a worker runs groups of one set of third-party classes and nothing else,
    and imports the plugin files of those alone. A group whose worker was lost is run again once, by itself; if that
    worker is lost too, third-party code was `killed`, and for our own code the machine has failed. Implements
    `Executor`.
    """

    def __init__(self, catalog: Catalog, options: RunOptions, spool: Path, workers: int, threads: int = 1) -> None:
        """spool: a folder for points of trials under way. workers: processes at a time. threads: of each worker."""
        self._catalog, self._options, self._spool = catalog, options, spool
        self._most, self._threads = workers, threads
        self._queued: dict[Kind, deque[LaneGroup]] = {}
        self._workers: dict[WorkerProcess, Kind] = {}
        self._losses: Counter[LaneGroup] = Counter()
        self._failed_starts = self._jobs = 0

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        for group in groups:
            self._queued.setdefault(_kind(group), deque()).append(group)

    def outcomes(self) -> Iterator[Outcome]:
        self.begin()
        while self._queued or any(one.job for one in self._workers):
            yield from self.step()

    def begin(self) -> None:
        """Make the folder for points. Raises ExecutorError."""
        with _machine("the folder takes no files"):
            self._spool.mkdir(exist_ok=True)

    def step(self, more: Sequence[Connection] = ()) -> Iterator[Outcome]:
        """What has ended once a worker, or one of `more`, has said something. Raises ExecutorError."""
        self._assign()
        for one in self._heard_from(more):
            outcome = self._advance(one)
            if outcome:
                yield outcome

    def close(self) -> None:
        self._queued.clear()
        for one in [*self._workers]:
            self._drop(one)
        with contextlib.suppress(OSError):  # a folder that is gone or takes nothing: the next run tidies up
            for path in self._spool.iterdir():
                path.unlink()
            self._spool.rmdir()

    def _assign(self) -> None:
        """Give every idle worker a group of its kind, end those of a kind that has none, start what is missing."""
        for one in [one for one in self._workers if one.ready and not one.job]:
            if not self._give(one) and self._queued:
                self._drop(one)
        for kind in sorted(self._queued):
            starting = sum(of == kind and not one.ready for one, of in self._workers.items())
            for _ in range(min(self._most - len(self._workers), len(self._queued[kind]) - starting)):
                with _machine("no process can be started"):
                    self._workers[WorkerProcess(self._options, kind[1], self._threads)] = kind

    def _give(self, one: WorkerProcess) -> bool:
        """Send the next group of a worker's own kind, if there is one."""
        kind = self._workers[one]
        queue = self._queued.get(kind)
        if not queue:
            return False
        group = queue.popleft()
        if not queue:
            del self._queued[kind]
        self._jobs += 1
        now, stem = time.monotonic(), self._spool / f"{self._jobs}"
        limit = self._options.timeout * len(group.trials)
        job = Job(group, stem.with_suffix(".points"), stem.with_suffix(".records"), now, now + limit)
        with contextlib.suppress(OSError):  # it is gone, as its sentinel says
            one.give(job)
        return True

    def _heard_from(self, more: Sequence[Connection]) -> list[WorkerProcess]:
        """The workers that have said something, have ended or are over their time, once there is one or `more` has."""
        now = time.monotonic()
        ends = [one.job.until if one.job else one.until for one in self._workers if one.job or not one.ready]
        patience = min(MAX_WAIT_SECONDS, max(MIN_WAIT_SECONDS, min(ends, default=now) - now))
        ends_of_workers = [end for one in self._workers for end in (one.connection, one.sentinel)]
        waited = wait([*ends_of_workers, *more], patience)
        found, now = set(waited), time.monotonic()
        return [
            one
            for one in self._workers
            if one.connection in found
            or one.sentinel in found
            or (one.job and now >= one.job.until)
            or (not one.ready and now >= one.until)
        ]

    def _advance(self, one: WorkerProcess) -> Outcome | None:
        """What a worker's message, end or silence means. Raises ExecutorError."""
        late = time.monotonic() >= (one.job.until if one.job else one.until)
        message = one.heard()
        kind = message.get("kind") if message else None
        if message and kind == "ready" and not one.job:
            one.ready, self._failed_starts = True, 0
            return None
        if message and kind == "machine":
            raise ExecutorError(f"{_text(message)}; what has ended is kept, the same command goes on")
        if message and kind == "error" and not one.ready:
            raise ExecutorError(
                f"the worker processes do not run ({_text(message)}); what has ended is kept, nothing else is"
            )
        job = one.job
        if job is None:
            self._lost_without_work(one)
            return None
        if message and kind in ("done", "full", "failed"):
            one.job = None
            if message.get("changed") is True:
                self._drop(one)
            return self._answered(job, message)
        if message is None and late and not one.is_stopped():
            self._drop(one)
            return self._ended(job, "timeout", f"did not return within {self._options.timeout:g} s")
        return self._lost(one, job)

    def _answered(self, job: Job, message: dict[str, Any]) -> Outcome:
        kind, seconds = message["kind"], message.get("seconds")
        took = float(seconds) if isinstance(seconds, float) and seconds >= 0 else time.monotonic() - job.began
        if kind == "failed":
            return self._ended(job, "failed", _text(message))
        if kind == "full":
            _forget(job)
            return Outcome(job.group, [], took, out_of_memory=True)
        try:
            records = read_answer(job.records, job.group)
        except RecordError as error:
            return self._ended(job, "failed", f"what came back cannot be read: {error}")
        _forget(job)
        return Outcome(job.group, records, took)

    def _ended(self, job: Job, status: str, reason: str, out_of_memory: bool = False) -> Outcome:
        """The outcome of a group that was stopped: what it had measured, with this status."""
        with _machine("what was measured cannot be read"):
            points = read_points(job.points, len(job.group.trials))
        _forget(job)
        records = ended_early(job.group, self._catalog, status, reason, points)
        return Outcome(job.group, records, time.monotonic() - job.began, out_of_memory)

    def _lost(self, one: WorkerProcess, job: Job) -> Outcome | None:
        """A worker has ended with a group under way: by its own watchdog, by the group, or by the machine."""
        stopped = one.is_stopped()
        code = None if stopped else one.exit_code()
        self._drop(one)
        if code == worker.EXIT_MEMORY:
            return self._ended(job, "killed", f"took more than {self._options.memory:g} GiB of memory", True)
        if code == worker.EXIT_IGNORES_STOP:
            return self._ended(job, "killed", f"ignored the budget: {worker.MAX_CALLS_AFTER_STOP} calls after Stop")
        why = "its process was stopped" if stopped else _why(code)
        self._losses[job.group] += 1
        if self._losses[job.group] < (MAX_LOSSES if code is not None else MAX_MACHINE_LOSSES):
            _forget(job)
            self.submit([job.group])
            return None
        if code is not None and job.group.third_party:
            return self._ended(job, "killed", why)
        raise ExecutorError(
            f"a worker process was lost {self._losses[job.group]} times in the same trials ({why}); "
            "what has ended is kept, the same command goes on",
            job.group,
        )

    def _lost_without_work(self, one: WorkerProcess) -> None:
        """A worker has ended, or was never ready, while it had nothing to do: another one is started where needed."""
        started, why = one.ready, _why(one.exit_code())
        self._drop(one)
        self._failed_starts += not started
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ExecutorError(f"the worker processes do not start ({why}); what has ended is kept, nothing else is")

    def _drop(self, one: WorkerProcess) -> None:
        self._workers.pop(one, None)
        one.end()


def _kind(group: LaneGroup) -> Kind:
    return group.third_party, group.files


def _forget(job: Job) -> None:
    """Remove what a job wrote; a folder that takes nothing says so elsewhere."""
    for path in (job.points, job.records):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _text(message: dict[str, Any]) -> str:
    return clean(str(message.get("text", "")))


def _why(code: int | None) -> str:
    if code is None:
        return "the process that starts workers was lost, or its own was stopped"
    return f"its process was killed by signal {-code}" if code < 0 else f"exited its process with code {code}"


@contextlib.contextmanager
def _machine(what: str) -> Iterator[None]:
    """Whatever the system refuses meanwhile is the machine's fault, and no trial's."""
    try:
        yield
    except (OSError, RuntimeError, EOFError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise ExecutorError(f"{what}: {reason}; what has ended is kept, the same command goes on") from None
