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
BUNDLE_SECONDS, MAX_BUNDLE = 1.0, 64  # of work that a task should hold, and of groups: a task costs 10 ms
GRACE_SECONDS = 360.0  # that a group may take beyond its own limit: a pool that starts, a worker that is started again


@dataclass(eq=False)
class _Job:
    group: LaneGroup
    name: str
    blob: bytes
    pinned: str = ""  # the address that it must go to
    key: str = ""  # of its task
    by_itself: bool = False  # its task was lost: one that holds nothing else shows whose fault that is
    began: list[str] = field(default_factory=list)  # lives of workers that have begun it and have not ended it
    faults: int = 0  # of the host that had it

    @property
    def losses(self) -> int:
        return self.faults + max(0, len(self.began) - 1)

    @property
    def is_to_blame(self) -> bool:
        return self.losses >= (MAX_LOSSES if self.group.third_party else MAX_OWN_LOSSES)


@dataclass(eq=False)
class _Bundle:
    """What one task of dask's holds: short groups travel together."""

    jobs: list[_Job]
    address: str  # that it must go to, or nothing
    future: Any


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
        self._bundles: dict[str, _Bundle] = {}  # by the key of their task
        self._tasks = 0  # handed over so far
        self._mean_seconds = BUNDLE_SECONDS  # of a group, of those that ended lately
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
        while self._queue and len(self._bundles) < most:
            self._hand_over(*self._next_jobs())
        self._tell()

    def _next_jobs(self) -> tuple[list[_Job], str]:
        """Groups from the queue that travel together, and the address that they must go to, if any."""
        first = self._queue.popleft()
        if first.pinned in self._session.machines.workers:
            return [first], first.pinned
        first.pinned = ""
        jobs = [first]
        fair = -(-len(self._queue) // (2 * max(1, self._session.machines.slots)))  # so that all end together
        most = min(MAX_BUNDLE, fair, int(BUNDLE_SECONDS / max(self._mean_seconds, 1e-3)))
        while self._queue and len(jobs) < most and not (first.by_itself or self._queue[0].by_itself):
            if self._queue[0].pinned:
                break
            jobs.append(self._queue.popleft())
        return jobs, ""

    def _fill_machines(self) -> None:
        """One group for every machine of the kind that has none."""
        taken = {
            self._session.machines.workers[one.address].machine
            for one in self._bundles.values()
            if self._is_there(one.address)
        }
        for address in self._of_one_kind():
            machine = self._session.machines.workers[address].machine
            if machine not in taken and self._queue:
                taken.add(machine)
                self._hand_over([self._queue.popleft()], address)
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

    def _hand_over(self, jobs: list[_Job], address: str) -> None:
        self._tasks += 1
        key = f"optbench-{jobs[0].name}-{self._tasks}-{id(self):x}"
        limit = self._options.timeout * sum(len(job.group.trials) for job in jobs) + GRACE_SECONDS
        for job in jobs:
            job.key, job.pinned = key, address
        arguments = self._session.run, [(job.name, job.blob) for job in jobs], limit
        future = self._session.link.submit(key, station.run_groups, *arguments, worker=address)
        self._bundles[key] = _Bundle(jobs, address, future)

    def _withdraw(self, job: _Job) -> None:
        """Its task need not run for its sake."""
        bundle = self._bundles.get(job.key)
        job.key = ""
        if bundle is None:
            return
        bundle.jobs.remove(job)
        if bundle.jobs:
            return
        self._bundles = {key: one for key, one in self._bundles.items() if one is not bundle}
        try:
            bundle.future.cancel(reason="not needed")
            bundle.future.release()
        except Exception:  # the connection it belonged to is gone
            pass

    def _again(self, job: _Job) -> None:
        self._withdraw(job)
        job.pinned, job.by_itself = "", True
        if job.name in self._jobs and job not in self._queue:
            self._queue.appendleft(job)

    def _all_again(self, bundles: Iterable[_Bundle]) -> None:
        for job in [job for bundle in bundles for job in bundle.jobs]:
            self._again(job)

    def _heard(self, event: Event) -> Iterator[Outcome]:
        """What an event means for the groups."""
        if event.kind == "done":
            yield from self._done(event)
        elif event.kind == "broken":  # dask gave it up, as it does for whatever waits on a worker that is lost
            self._all_again([self._bundles[event.address]] if event.address in self._bundles else ())
        elif event.kind in ("began", "ended"):
            yield from self._counted(event)
        elif event.kind == "left":
            self._all_again([one for one in self._bundles.values() if one.address == event.address])
        elif event.kind == "joined":
            self._reconsider()

    def _reconsider(self) -> None:
        """Tasks that nobody could take before are handed over again: dask does not look at them for a worker's sake."""
        if len(self._session.machines.workers) == 1:
            self._all_again([one for one in self._bundles.values() if not one.address])

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
        bundle = self._bundles.get(event.address)
        jobs = {job.name: job for job in bundle.jobs} if bundle else {}  # without: it has its outcome, or runs again
        for answer in event.content:
            if answer["id"] in jobs:
                yield from self._told(jobs[answer["id"]], answer, alone=len(event.content) == 1)
        if bundle:  # whatever it was not told of
            self._all_again([bundle])

    def _told(self, job: _Job, answer: dict[str, Any], alone: bool) -> Iterator[Outcome]:
        """What a worker says of one group. alone: its task held no other group."""
        worker = self._session.machines.workers.get(answer["worker"])
        if "lost" not in answer:
            if worker:
                worker.failures = 0
            yield from self._answered(job, answer)
            return
        job.faults += answer["blame"] == "group" or (alone and answer["blame"] == "unknown")
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
        self._mean_seconds += 0.1 * (outcome.seconds - self._mean_seconds)
        self._written.setdefault(answer["worker"], []).append(job.name)
        yield outcome

    def _given_up(self, job: _Job, why: str) -> Iterator[Outcome]:
        if not job.group.third_party:
            raise ExecutorError(f"{why}; what has ended is kept, the same command goes on", job.group)
        self._finish(job)
        nothing: list[list[Any]] = [[] for _ in job.group.trials]
        yield Outcome(job.group, ended_early(job.group, self._catalog, "killed", why, nothing))

    def _finish(self, job: _Job) -> None:
        if not job.key and job in self._queue:
            self._queue.remove(job)
        self._withdraw(job)
        self._jobs.pop(job.name, None)

    def _look_after(self) -> None:
        """Once in a while: is anybody there, is the scheduler, what need workers keep no longer."""
        now = time.monotonic()
        if not self._session.link.is_connected:
            self._all_again([*self._bundles.values()])
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
            self._changed(len(machines), slots, min(len(self._bundles), slots))


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
