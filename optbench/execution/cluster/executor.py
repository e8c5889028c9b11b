"""The cluster executor: lane groups as tasks of dask's, each with one outcome whatever happens to machines meanwhile.

dask decides where a task runs and runs it again when its worker is lost. What it cannot know is decided here: whether a
group is to blame for the workers it was lost with, and which of two answers counts.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from optbench.core.trial import Trial
from optbench.execution.cluster import station
from optbench.execution.cluster.link import Event
from optbench.execution.cluster.session import MAX_AWAY_SECONDS, Session
from optbench.execution.cluster.setup import group_name
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.execution.salvage import answered, ended_early
from optbench.execution.task import LaneGroup, Outcome
from optbench.records.schema import RecordError
from optbench.registry.catalog import Catalog

# Of the workers of one group. A machine that goes while the group runs is bad luck, and so may be a second and a third;
# what ends its worker every time is no accident. Workers that merely had the group in their queue do not count.
MAX_LOSSES = 5
MAX_OWN_LOSSES = 25  # where it is nobody else's code, which ends no machine
MAX_FAULTS = 3  # of one worker in a row, that were no group's
QUEUED_A_SLOT, MIN_QUEUED = 2, 8  # tasks that the scheduler is given ahead, so that no worker waits for this process
FORGET_SECONDS = 5.0  # between two messages on what has its record
GRACE_SECONDS = 360.0  # that a group may take beyond its own limit: a pool that starts, a worker that is started again


@dataclass
class _Job:
    group: LaneGroup
    name: str
    blob: bytes
    pinned: str = ""  # the address that it must go to
    key: str = ""  # of its task
    future: Any = None
    attempts: int = 0
    began: list[str] = field(default_factory=list)  # lives of workers that have begun it and have not ended it
    faults: int = 0  # of the host that had it

    @property
    def losses(self) -> int:
        return self.faults + max(0, len(self.began) - 1)

    @property
    def is_to_blame(self) -> bool:
        return self.losses >= (MAX_LOSSES if self.group.third_party else MAX_OWN_LOSSES)


class ClusterExecutor:
    """Lane groups on the workers of a session. Implements `Executor`."""

    def __init__(
        self,
        session: Session,
        catalog: Catalog,
        options: RunOptions,
        alone: bool = False,
        changed: Callable[[int, int, int], None] | None = None,
        kind: tuple[Any, ...] | None = None,
    ) -> None:
        """alone: one group a machine, on machines of one kind. changed: told (machines, slots, groups under way).

        kind: of the machines that earlier trials ran alone on.
        """
        self._session, self._catalog, self._options, self._alone = session, catalog, options, alone
        self._changed, self.kind = changed, kind
        self._queue: deque[_Job] = deque()  # not with the scheduler
        self._jobs: dict[str, _Job] = {}  # by name, until their outcome is known
        self._keys: dict[str, _Job] = {}  # by the key of their task
        self._written: dict[str, list[str]] = {}  # answers by address that need not be kept any more
        self._forgot = self._somebody = time.monotonic()

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        for group in groups:
            name = group_name(group)
            job = _Job(group, name, pickle.dumps(group))
            job.pinned = self._session.under_way.get(name, ("", b""))[0]
            self._jobs[name] = job
            self._queue.append(job)

    def outcomes(self) -> Iterator[Outcome]:
        while self._jobs:
            self._fill()
            event = self._session.next_event(1.0)
            yield from self._heard(event) if event else ()
            if event and event.kind == "joined":
                yield from self._found()
            self._look_after()
        self._forget()

    def close(self) -> None:
        for job in self._jobs.values():
            self._withdraw(job)
        self._jobs.clear()
        self._queue.clear()

    def _fill(self) -> None:
        """Hand to the scheduler what it should have."""
        if not self._session.link.is_connected:
            return
        if self._alone:
            self._fill_machines()
            return
        most = max(MIN_QUEUED, (1 + QUEUED_A_SLOT) * self._session.machines.slots)
        while self._queue and len(self._keys) < most:
            job = self._queue.popleft()
            if job.pinned not in self._session.machines.workers:
                job.pinned = ""
            self._hand_over(job, job.pinned)
        self._tell()

    def _fill_machines(self) -> None:
        """One group for every machine of the kind that has none."""
        taken = {
            self._session.machines.workers[one.pinned].machine
            for one in self._keys.values()
            if self._is_there(one.pinned)
        }
        for address in self._of_one_kind():
            machine = self._session.machines.workers[address].machine
            if machine not in taken and self._queue:
                taken.add(machine)
                self._hand_over(self._queue.popleft(), address)
        self._tell()

    def _is_there(self, address: str) -> bool:
        return address in self._session.machines.workers

    def _of_one_kind(self) -> list[str]:
        """The first worker of every machine of one kind: that of earlier trials, else the one with most machines."""
        first = self._session.machines.first_of_each().values()
        kinds = [worker.kind for worker in first]
        if kinds and self.kind not in kinds:
            self.kind = max(kinds, key=kinds.count)
        return [worker.address for worker in first if worker.kind == self.kind]

    def _hand_over(self, job: _Job, address: str) -> None:
        job.attempts += 1
        job.key = f"optbench-{job.name}-{job.attempts}-{id(self):x}"
        job.pinned = address
        limit = self._options.timeout * len(job.group.trials) + GRACE_SECONDS
        self._keys[job.key] = job
        arguments = self._session.run, job.name, job.blob, limit
        job.future = self._session.link.submit(job.key, station.run_group, *arguments, worker=address)

    def _withdraw(self, job: _Job) -> None:
        """The scheduler need not have it any more."""
        self._keys.pop(job.key, None)
        if job.future is not None:
            try:
                job.future.cancel(reason="not needed")
                job.future.release()
            except Exception:  # the connection it belonged to is gone
                pass
        job.future = None

    def _again(self, job: _Job) -> None:
        self._withdraw(job)
        job.pinned = ""
        if job.name in self._jobs and job not in self._queue:
            self._queue.appendleft(job)

    def _heard(self, event: Event) -> Iterator[Outcome]:
        """What an event means for the groups."""
        if event.kind == "done":
            yield from self._done(event)
        elif event.kind == "broken":
            job = self._keys.get(event.address)
            if (
                job
            ):  # dask gave it up, as it does for whatever waits on a worker that is lost; or the connection is gone
                self._again(job)
        elif event.kind in ("began", "ended"):
            yield from self._counted(event)
        elif event.kind == "left":
            for job in [one for one in self._keys.values() if one.pinned == event.address]:
                self._again(job)
        elif event.kind == "joined":
            self._reconsider()

    def _reconsider(self) -> None:
        """Tasks that nobody could take before are handed over again: dask does not look at them for a worker's sake."""
        if len(self._session.machines.workers) == 1:
            for job in [one for one in self._keys.values() if not one.pinned]:
                self._again(job)

    def _counted(self, event: Event) -> Iterator[Outcome]:
        """Whether a group that begins has ended the workers on which it began before."""
        job = self._jobs.get(event.content["id"])
        if job is None:
            return
        life = event.content["life"]
        if event.kind == "ended":
            job.began = [one for one in job.began if one != life]
            return
        if life not in job.began:
            job.began.append(life)
        if job.is_to_blame:
            yield from self._given_up(job, f"the worker that ran it was lost {job.losses} times")

    def _done(self, event: Event) -> Iterator[Outcome]:
        job, answer = self._keys.get(event.address), event.content
        if job is None:
            return  # it has its outcome, or runs again
        worker = self._session.machines.workers.get(answer["worker"])
        if "lost" not in answer:
            if worker:
                worker.failures = 0
            yield from self._answered(job, answer)
            return
        job.faults += answer["blame"] in ("group", "unknown")
        self._again(job)
        if answer["blame"] == "machine" and worker:
            worker.failures += 1
            if worker.failures >= MAX_FAULTS:
                self._session.dismiss(worker.address, answer["lost"])
        if job.is_to_blame:
            yield from self._given_up(job, answer["lost"])

    def _found(self) -> Iterator[Outcome]:
        """Answers that lay on the machine of a worker that has come."""
        for name in [name for name in self._session.answers if name in self._jobs]:
            yield from self._answered(self._jobs[name], self._session.answers.pop(name))

    def _answered(self, job: _Job, answer: dict[str, Any]) -> Iterator[Outcome]:
        worker = self._session.machines.workers.get(answer["worker"])
        outcome = outcome_of(job.group, answer, worker.machine if worker else "")
        if outcome is None:
            job.faults += 1
            self._again(job)
            if job.is_to_blame:
                raise ExecutorError("what workers answer cannot be read; what has ended is kept")
            return
        self._finish(job)
        self._written.setdefault(answer["worker"], []).append(job.name)
        yield outcome

    def _given_up(self, job: _Job, why: str) -> Iterator[Outcome]:
        if not job.group.third_party:
            raise ExecutorError(f"{why}; what has ended is kept, the same command goes on", job.group)
        self._finish(job)
        nothing: list[list[Any]] = [[] for _ in job.group.trials]
        yield Outcome(job.group, ended_early(job.group, self._catalog, "killed", why, nothing))

    def _finish(self, job: _Job) -> None:
        self._withdraw(job)
        self._jobs.pop(job.name, None)
        if job in self._queue:
            self._queue.remove(job)

    def _look_after(self) -> None:
        """Once in a while: is anybody there, is the scheduler, what need workers keep no longer."""
        now = time.monotonic()
        if not self._session.link.is_connected:
            for job in [*self._keys.values()]:
                self._again(job)
            self._session.reconnect(MAX_AWAY_SECONDS)
            self._somebody = time.monotonic()
        if self._session.machines.workers:
            self._somebody = now
        elif now - self._somebody > MAX_AWAY_SECONDS:
            why = next((f" ({why})" for why in self._session.refused.values()), "")
            raise ExecutorError(
                f"no worker for {MAX_AWAY_SECONDS:g} s{why}; what has ended is kept, the same command goes on"
            )
        if now - self._forgot > FORGET_SECONDS:
            self._forget()

    def _forget(self) -> None:
        """What has its record by now, because the outcome was taken, need not be kept for another coordinator."""
        self._forgot = time.monotonic()
        written, self._written = self._written, {}
        self._session.forget(written)

    def _tell(self) -> None:
        if self._changed:
            workers = self._session.machines.workers
            machines = self._of_one_kind() if self._alone else {one.machine for one in workers.values()}
            slots = len(machines) if self._alone else self._session.machines.slots
            self._changed(len(machines), slots, min(len(self._keys), slots))


def outcome_of(group: LaneGroup, answer: dict[str, Any], machine: str) -> Outcome | None:
    """What a worker has answered for a group; None where that is no answer for it."""
    try:
        full, seconds = bool(answer["full"]), float(answer["seconds"])
        records = [] if full and not answer["lines"] else answered(answer["lines"], group)
    except (RecordError, KeyError, TypeError, ValueError):
        return None
    return Outcome(group, records, seconds, full, machine)


def left_behind(session: Session, trials: Sequence[Trial]) -> list[LaneGroup]:
    """The lane groups that workers of an earlier coordinator still run, of trials that are to run."""
    wanted, found = set(trials), []
    for _, blob in session.under_way.values():
        group = pickle.loads(blob)
        if isinstance(group, LaneGroup) and wanted.issuperset(group.trials):
            wanted -= set(group.trials)
            found.append(group)
    return found
