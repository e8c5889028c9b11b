"""The workers and machines of a run: who is there, how a machine is called, and how long each has been there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Worker:
    """One worker of the cluster that may run lane groups."""

    address: str
    host: str  # the name of its machine
    ip: str
    slots: int
    facts: dict[str, Any] = field(default_factory=dict)  # machine, versions, ceiling
    machine: str = ""  # how this run calls its machine
    since: float = 0.0  # of the monotonic clock: up to then its presence is counted
    failures: int = 0  # in a row, that were no group's

    @property
    def kind(self) -> tuple[Any, ...]:
        """What machines must share for their seconds to be compared."""
        machine = self.facts.get("machine", {})
        return tuple(machine.get(name) for name in ("cpu", "cores", "gpu"))


class Machines:
    """Workers by address, and the machines that they are on, in the order in which those came."""

    def __init__(self, known: Iterable[dict[str, Any]] = ()) -> None:
        """known: entries of an earlier coordinator, whose machines keep their names."""
        self.workers: dict[str, Worker] = {}
        self.entries: dict[str, dict[str, Any]] = {}  # name: what environment.json says of it
        self._names = {(str(one.get("host")), str(one.get("address"))): str(one["name"]) for one in known}
        self._present: dict[str, float] = {}

    @property
    def slots(self) -> int:
        """Lane groups that can run at a time."""
        return sum(worker.slots for worker in self.workers.values())

    def join(self, worker: Worker) -> None:
        worker.since, worker.machine = time.monotonic(), self._name(worker)
        self.workers[worker.address] = worker
        entry = self.entries.setdefault(worker.machine, {"name": worker.machine, "slots": 0})
        entry |= {"host": worker.host, "address": worker.ip}
        entry |= {name: worker.facts[name] for name in ("machine", "versions", "ceiling")}
        at_a_time = sum(one.slots for one in self.workers.values() if one.machine == worker.machine)
        entry["slots"] = max(entry["slots"], at_a_time)

    def leave(self, address: str) -> None:
        worker = self.workers.pop(address, None)
        if worker:
            self._count(worker)

    def present(self) -> dict[str, float]:
        """Seconds that each machine was there, times the groups that it could run at a time."""
        for worker in self.workers.values():
            self._count(worker)
        return dict(self._present)

    def first_of_each(self) -> dict[str, Worker]:
        """One worker of every machine that is there, the same one every time."""
        found: dict[str, Worker] = {}
        for _, worker in sorted(self.workers.items()):
            found.setdefault(worker.machine, worker)
        return found

    def _count(self, worker: Worker) -> None:
        now = time.monotonic()
        self._present[worker.machine] = self._present.get(worker.machine, 0.0) + worker.slots * (now - worker.since)
        worker.since = now

    def _name(self, worker: Worker) -> str:
        """A machine's host name; with its address where another machine has the same name."""
        same = worker.host, worker.ip
        if same not in self._names:
            taken = worker.host in self._names.values()
            self._names[same] = f"{worker.host}@{worker.ip}" if taken else worker.host
        return self._names[same]
