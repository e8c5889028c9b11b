"""A run's cluster from beginning to end: opened, told what the run needs, asked for widths, executors and facts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optbench.core.trial import RequestError
from optbench.execution import machine
from optbench.execution.cluster import station
from optbench.execution.cluster.executor import ClusterExecutor, left_behind, outcome_of
from optbench.execution.cluster.parcel import pack
from optbench.execution.cluster.session import MAX_AWAY_SECONDS, Session
from optbench.execution.cluster.setup import Setup, name_of, sources
from optbench.execution.grouping import smaller_groups
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup, Outcome, Task
from optbench.registry.catalog import Catalog
from optbench.registry.plugins import MODULE_PREFIX

DECISIVE = ("optbench", "torch", "numpy", "scipy", "pyswarms")  # packages that decide numbers of our own methods
MAX_TRIES = 3  # to have a width measured; then it is one lane
WIDTH_SECONDS = 600.0  # that the widths of one problem may take


class Crew:
    """The machines of one run. Close it, whatever happens. Raises RequestError where there are none."""

    def __init__(self, options: RunOptions, say: Callable[[str], Any], before: Mapping[str, Any]) -> None:
        """before: environment.json of the folder that is gone on with, {} for a new one."""
        assert options.cluster
        self._options, self._say = options, say
        earlier = before.get("cluster") or {}
        self._run = str(earlier.get("run") or uuid.uuid4().hex)
        self._kind = tuple(earlier["alone_on"]) if earlier.get("alone_on") else None
        self._before = {one["name"]: one for one in before.get("machines", []) if one.get("name")}
        self._session = Session(options.cluster, options.cluster_wait, options.device, say, self._before.values())
        self._catalog: Catalog | None = None
        self._last: ClusterExecutor | None = None
        self._futures: dict[str, Any] = {}  # of what is being measured

    @property
    def device(self) -> str:
        """ "cpu" or "cuda", for what the user asked. Raises RequestError where no worker has a GPU."""
        if self._options.device == "cuda" and not self._session.has_gpu:
            raise RequestError(
                f"--device cuda: no worker of {self._options.cluster} has a GPU; start one there, or --device cpu"
            )
        return ("cuda" if self._session.has_gpu else "cpu") if self._options.device == "auto" else self._options.device

    @property
    def own_device(self) -> str:
        """Where this machine can look at problems for a run on those of others."""
        try:
            return machine.device(self.device)
        except RequestError:
            return "cpu"

    @property
    def slots(self) -> int:
        return self._session.machines.slots

    def prepare(self, tasks: Sequence[Task], catalog: Catalog, options: RunOptions, anew: bool) -> None:
        """Send every worker what these tasks need; returns once one is ready.

        options: with the device and the limits of the suite. anew: what workers have kept of an earlier attempt is not
        wanted. Raises RequestError where no worker can be used.
        """
        self._catalog, self._options = catalog, options
        if anew:
            self._run = uuid.uuid4().hex
        others = [task for task in tasks if task.third_party or task.files]
        problems = list(dict.fromkeys(task.trial.problem for task in others))
        optimizers = list(dict.fromkeys(task.trial.optimizer for task in others))
        parcel = pack(catalog.files, problems, optimizers)
        if parcel.files:
            size = sum(len(content) for *_, content in parcel.files)
            self._say(f"{len(parcel.files)} files travel with the work ({size / 2**10:.3g} KiB)")
        name = name_of(self._run, options, parcel)
        plain = replace(options, cluster=None, plugins=())
        setup = Setup(name, plain, catalog.files, sources(tasks), parcel)
        self._session.prepare(setup, _distributions(others))
        self._say(self._who())

    def answered(self, todo: Sequence[Task]) -> Iterator[Outcome]:
        """What workers of an earlier coordinator of this run have finished meanwhile."""
        tasks = {task.trial.key: task for task in todo}
        for answer in [*self._session.answers.values()]:
            keys = answer.get("keys") or []
            if not keys or not tasks.keys() >= set(keys):
                continue
            group = LaneGroup(tuple(tasks[key].trial for key in keys), alone=bool(answer.get("alone")))
            worker = self._session.machines.workers.get(answer["worker"])
            outcome = outcome_of(group, answer, worker.machine if worker else "")
            if outcome is None or smaller_groups(outcome):
                continue
            if all(record.fingerprint == tasks[record.key].fingerprint for record in outcome.records):
                for key in keys:
                    del tasks[key]
                yield outcome

    def under_way(self, todo: Sequence[Task]) -> list[LaneGroup]:
        """What workers of an earlier coordinator of this run are still at."""
        return left_behind(self._session, [task.trial for task in todo])

    def widths(self, asks: Sequence[tuple[Task, int]]) -> list[int]:
        """How many lanes pay on the workers, for (task, trials alike): measured there, a problem at a time."""
        found = [1] * len(asks)
        waiting: dict[str, tuple[list[int], bytes, int]] = {}
        for problem in dict.fromkeys(task.trial.problem for task, _ in asks):
            numbers = [number for number, (task, _) in enumerate(asks) if task.trial.problem == problem]
            trials = [(asks[number][0].trial, asks[number][1]) for number in numbers]
            wanted = [(one.problem, one.optimizer, dict(one.hyper), one.passes, count) for one, count in trials]
            blob = pickle.dumps(wanted)
            waiting[f"widths-{hashlib.sha256(blob).hexdigest()[:16]}"] = (numbers, blob, 0)
        until = time.monotonic() + MAX_AWAY_SECONDS
        keys = {self._ask(name, blob, 0): name for name, (_, blob, _) in waiting.items()}
        while waiting and time.monotonic() < until:
            if not self._session.link.is_connected:
                self._session.reconnect(MAX_AWAY_SECONDS)
                keys = {self._ask(name, blob, tries + 1): name for name, (_, blob, tries) in waiting.items()}
            event = self._session.next_event(1.0)
            if event is None or event.kind not in ("done", "broken") or event.address not in keys:
                continue
            name = keys.pop(event.address)
            numbers, blob, tries = waiting.pop(name)
            if event.kind == "done" and isinstance(event.content.get("widths"), list):
                for number, width in zip(numbers, event.content["widths"], strict=True):
                    found[number] = width
            elif tries + 1 < MAX_TRIES:
                waiting[name] = (numbers, blob, tries + 1)
                keys[self._ask(name, blob, tries + 1)] = name
        self._futures.clear()
        return found

    def executor(self, alone: bool, changed: Callable[[int, int, int], None]) -> ClusterExecutor:
        """What runs lane groups on the workers. alone: one a machine. changed: told (machines, slots, under way)."""
        assert self._catalog
        self._last = ClusterExecutor(self._session, self._catalog, self._options, alone, changed, self._kind)
        return self._last

    def facts(self) -> dict[str, Any]:
        """For environment.json: the cluster, every machine that took part, and how long each was there."""
        presence = self._session.machines.present()
        if self._last and self._last.kind:
            self._kind = self._last.kind
        machines = dict(self._before)
        for name, entry in self._session.machines.entries.items():
            before = self._before.get(name, {}).get("slot_seconds", 0.0)
            machines[name] = entry | {"slot_seconds": before + presence.get(name, 0.0)}
        cluster: dict[str, Any] = {"address": self._options.cluster, "run": self._run}
        if self._kind:
            cluster["alone_on"] = list(self._kind)
        found = {"cluster": cluster, "machines": list(machines.values())}
        if not self._session.machines.entries:
            return found
        ceiling = float(next(iter(self._session.machines.entries.values()))["ceiling"])  # of the first worker's machine
        return found | {"workers": self.slots, "ceiling_flops_per_second": {self._options.device: ceiling}}

    def close(self) -> None:
        self._session.close()

    def _ask(self, name: str, blob: bytes, tries: int) -> str:
        key = f"optbench-{name}-{tries}-{time.monotonic_ns()}"
        arguments = self._session.run, f"{name}-{tries}", blob, WIDTH_SECONDS
        self._futures[key] = self._session.link.submit(key, station.measure_widths, *arguments)
        return key

    def _who(self) -> str:
        workers = self._session.machines.workers.values()
        names = list(dict.fromkeys(worker.machine for worker in workers))
        count = len(workers)
        return (
            f"{self._options.cluster}: {count} worker{'s' * (count != 1)} on {', '.join(names[:4])}"
            f"{f' and {len(names) - 4} more' if len(names) > 4 else ''}, {self.slots} lane groups at a time"
        )


def _distributions(others: Sequence[Task]) -> tuple[str, ...]:
    """Installed packages that every machine must have in one version: ours, and those of other people's classes."""
    tops = {name.split(".")[0].partition(":")[0] for task in others for name in task.third_party}
    tops = {top for top in tops if not top.startswith(MODULE_PREFIX)}
    known = importlib.metadata.packages_distributions() if tops else {}
    named = [name for top in sorted(tops) for name in known.get(top, [])]
    return tuple(dict.fromkeys((*DECISIVE, *named)))
