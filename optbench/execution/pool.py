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
from optbench.execution.verification import Check
from optbench.execution.worker import ANSWER
from optbench.execution.worker_process import Job, WorkerProcess
from optbench.records.schema import Record, RecordError, clean, read_line
from optbench.registry.catalog import Catalog, Kind

CHECKED = ("spent", "finished")  # statuses of records whose points are scored again
MAX_LOSSES = 2  # of the worker of one group; then it is no accident
MAX_MACHINE_LOSSES = 4  # where it was certainly not the group that ended it
MAX_FAILED_STARTS = 3  # in a row, of workers that ended before they could work
MAX_OVERSLEPT_SECONDS = 5.0  # that a wait may take longer than was asked for
MIN_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.0, 60.0  # between two looks at the clock


class PoolExecutor:
    """Lane groups through worker processes on this machine.

    What a group had measured when it was stopped is in its records. Other people's code may leave its process changed
    (a default type, a patched function), so a worker runs groups of one set of third-party classes and nothing else,
    and imports the plugin files of those alone. A group whose worker was lost is run again once, by itself; if that
    worker is lost too, third-party code was `killed`, and for our own code the machine has failed.

    What a third-party optimizer leaves is scored again by a worker that never imported it, before its outcome is final.
    Such a worker may be one more than `workers`; then it is idle while groups run. Implements `Executor`.
    """

    def __init__(
        self,
        catalog: Catalog,
        options: RunOptions,
        spool: Path,
        workers: int,
        threads: int = 1,
        cores: Sequence[int] = (),
    ) -> None:
        """spool: a folder for points of trials under way. workers: processes at a time. threads: of each worker.

        cores: logical processors, one for each worker to stay on; none leaves that to the system.
        """
        self._cores = tuple(cores)
        self._catalog, self._options, self._spool = catalog, options, spool
        self._most, self._threads = workers, threads
        self._queued: dict[Kind, deque[LaneGroup | Check]] = {}
        self._workers: dict[WorkerProcess, Kind] = {}
        self._hosts: dict[Kind, tuple[str, ...]] = {}  # of isolated optimizers: what the process of the problem imports
        self._losses: Counter[LaneGroup | Check] = Counter()
        self._failed_starts = self._jobs = 0

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        for group in groups:
            self._queue(group)

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

    def _queue(self, work: LaneGroup | Check) -> None:
        queue = self._queued.setdefault(_kind(work), deque())
        if isinstance(work, LaneGroup) and work.stated and work.scorer:
            self._hosts[_kind(work)] = work.scorer[1]
        if isinstance(work, Check):
            queue.appendleft(work)
        else:
            queue.append(work)

    def _assign(self) -> None:
        """Give every idle worker work of its kind, start what is missing, end those in whose place it starts."""
        idle = [one for one in self._workers if one.ready and not one.job]
        for one in sorted(idle, key=lambda one: not self._is_check(self._workers[one])):
            if self._is_check(self._workers[one]) or self._free > self._waiting:
                self._give(one)
        most = self._most + any(map(self._is_check, self._queued))
        for kind in sorted(self._queued, key=lambda kind: (not self._is_check(kind), kind)):
            mine = [one for one, of in self._workers.items() if of == kind]
            if self._is_check(kind):
                missing = int(not mine)
            else:
                missing = len(self._queued[kind]) - sum(not one.ready or not one.job for one in mine)
            for _ in range(missing):
                while len(self._workers) >= most and self._make_room(kind):
                    pass
                if len(self._workers) >= most:
                    break
                with _machine("no process can be started"):
                    self._workers[self._started(kind)] = kind

    def _started(self, kind: Kind) -> WorkerProcess:
        taken = {one.core for one in self._workers}
        core = next((core for core in self._cores if core not in taken), None)
        if kind in self._hosts:
            return WorkerProcess(self._options, self._hosts[kind], self._threads, core, guests=kind[1])
        return WorkerProcess(self._options, kind[1], self._threads, core)

    @property
    def _free(self) -> int:
        """How many groups more may be under way."""
        return self._most - sum(one.job is not None for one in self._workers)

    @property
    def _waiting(self) -> int:
        """How many checks wait for a worker, one a kind."""
        busy = {of for one, of in self._workers.items() if one.job}
        return sum(self._is_check(kind) and kind not in busy for kind in self._queued)

    def _is_check(self, kind: Kind) -> bool:
        """Whether the next work of a kind is to score a group again."""
        return kind in self._queued and isinstance(self._queued[kind][0], Check)

    def _make_room(self, kind: Kind) -> bool:
        """End an idle worker of another kind that has nothing to do or waits for a check; False where none is."""
        for one, of in self._workers.items():
            if one.ready and not one.job and of != kind and (of not in self._queued or self._is_check(kind)):
                self._drop(one)
                return True
        return False

    def _give(self, one: WorkerProcess) -> bool:
        """Send the next work of a worker's own kind, if there is any."""
        kind = self._workers[one]
        queue = self._queued.get(kind)
        if not queue:
            return False
        work = queue.popleft()
        if not queue:
            del self._queued[kind]
        self._jobs += 1
        now, stem = time.monotonic(), self._spool / f"{self._jobs}"
        limit = self._options.timeout * len((work.group if isinstance(work, Check) else work).trials)
        job = Job(work, stem.with_suffix(".points"), stem.with_suffix(".records"), now, now + limit)
        with contextlib.suppress(OSError):  # it is gone, as its sentinel says
            one.give(job)
        return True

    def _heard_from(self, more: Sequence[Connection]) -> list[WorkerProcess]:
        """The workers that have said something, have ended or are over their time, once there is one or `more` has."""
        began = time.monotonic()
        ends = [one.job.until if one.job else one.until for one in self._workers if one.job or not one.ready]
        patience = min(MAX_WAIT_SECONDS, max(MIN_WAIT_SECONDS, min(ends, default=began) - began))
        ends_of_workers = [end for one in self._workers for end in (one.connection, one.sentinel)]
        waited = wait([*ends_of_workers, *more], patience)
        found, now = set(waited), time.monotonic()
        if (overslept := now - began - patience) > MAX_OVERSLEPT_SECONDS:  # this process was stopped: the others too
            for one in self._workers:
                one.allow(overslept)
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
            if message.get("changed") is not False and not isinstance(job.work, Check):
                self._drop(one)
            return self._answered(job, message)
        if message is None and late and not one.is_stopped():
            self._drop(one)
            return self._ended(job, "timeout", f"did not return within {self._options.timeout:g} s")
        return self._lost(one, job)

    def _answered(self, job: Job, message: dict[str, Any]) -> Outcome | None:
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
        if isinstance(job.work, LaneGroup) and job.group.is_checked and any(one.status in CHECKED for one in records):
            _forget(job, but=ANSWER)
            lines, answer = tuple(record.line() for record in records), job.records.with_suffix(ANSWER)
            self._queue(Check(job.group, lines, _digests(message), str(answer), took))
            return None
        _forget(job)
        return Outcome(job.group, records, took)

    def _ended(self, job: Job, status: str, reason: str, out_of_memory: bool = False) -> Outcome:
        """The outcome of a group that was stopped: what it had measured, with this status."""
        if isinstance(job.work, Check):
            _forget(job)
            refused = [_refused(line, reason) for line in job.work.lines]
            return Outcome(job.group, refused, job.work.seconds, out_of_memory)
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
        self._losses[job.work] += 1
        others = bool(_kind(job.work)[0])  # code of others may stop its process, or kill whoever started it
        own_doing = code is not None or (stopped and others)
        if self._losses[job.work] < (MAX_LOSSES if own_doing else MAX_MACHINE_LOSSES):
            _forget(job, but=ANSWER if isinstance(job.work, Check) else "")
            self._queue(job.work)
            return None
        if others:
            return self._ended(job, "killed", why)
        raise ExecutorError(
            f"a worker process was lost {self._losses[job.work]} times in the same trials ({why}); "
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


def _kind(work: LaneGroup | Check) -> Kind:
    if isinstance(work, Check):
        return work.group.scorer or ((), ())
    return work.third_party, work.files


def _refused(line: str, reason: str) -> Record:
    """A record whose point could not be scored again."""
    record = read_line(line)
    if record.status in CHECKED:
        record.status, record.error, record.certificate = "failed", f"not reproduced: {reason}", None
    return record


def _digests(message: dict[str, Any]) -> tuple[str, str]:
    """What a worker says of its data, before and after."""
    said = message.get("data")
    before, after = said if isinstance(said, list) and len(said) == 2 else ("", "")
    return str(before), str(after)


def _forget(job: Job, but: str = "") -> None:
    """Remove what a job read and wrote, but for the suffix `but`; a folder that takes nothing says so elsewhere."""
    answer = Path(job.work.answer) if isinstance(job.work, Check) else job.records.with_suffix(ANSWER)
    for path in (job.points, job.records, answer):
        if path.suffix != but:
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
