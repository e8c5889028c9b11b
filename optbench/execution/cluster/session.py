"""The coordinator's side of a cluster: its scheduler, the machines that may work, and what they say.

A task of its own on dask's event loop looks for workers, has each show what it is (`probe`), lets those work that would
give the same records, and refuses the others in one line. What happens comes as events, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

from optbench.core.trial import RequestError
from optbench.execution.cluster import probe, station
from optbench.execution.cluster.local import LocalCluster
from optbench.execution.cluster.place import Local, Place, place_of
from optbench.execution.cluster.setup import Setup
from optbench.execution.executor import ExecutorError

PROBE_SECONDS = 60.0  # that a worker may take to show what it is
MAX_AWAY_SECONDS = 900.0  # that a run goes on waiting for a scheduler or for any worker
MAX_AT_ONCE = 64  # workers that are made ready at a time
LOOK_SECONDS, LOOK_SECONDS_A_WORKER = 1.0, 0.005  # between two looks at who is there
_TEXT = Path(probe.__file__).read_text(encoding="utf-8")


@dataclass
class Worker:
    """One worker of the cluster that may run lane groups."""

    address: str
    host: str  # the name of its machine
    ip: str
    slots: int
    life: str = ""  # of its process
    facts: dict[str, Any] = field(default_factory=dict)  # machine, versions, ceiling
    machine: str = ""  # how this run calls its machine
    joined: float = 0.0  # of the monotonic clock
    failures: int = 0  # in a row, that were no group's

    @property
    def kind(self) -> tuple[Any, ...]:
        """What machines must share for their seconds to be compared."""
        machine = self.facts.get("machine", {})
        return tuple(machine.get(name) for name in ("cpu", "cores", "gpu"))


@dataclass(frozen=True)
class Event:
    """Something that has happened. kind: "joined", "left", "refused", "began", "ended", "done", "broken"."""

    kind: str
    address: str = ""
    content: Any = None
    generation: int = 0


class Session:
    """One run's connection to a cluster. Close it, whatever happens.

    Raises RequestError where there is no scheduler or no worker within the time that may be waited.
    """

    def __init__(self, text: str, wait: float, device: str, say: Callable[[str], Any]) -> None:
        """text: what `--cluster` names. wait: seconds. device: "cpu", "cuda" or "auto". say: told who is refused."""
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self.text, self._wait, self._say = text, wait, say
        self.own = probe.look(())
        self.workers: dict[str, Worker] = {}
        self.refused: dict[str, str] = {}  # address: why
        self.answers: dict[str, dict[str, Any]] = {}  # that lay on workers' machines, by the id of their group
        self.under_way: dict[str, tuple[str, bytes]] = {}  # id: (address, group) of what workers had when they joined
        self.present: dict[str, float] = {}  # seconds x slots that each machine was there
        self.machines: dict[str, dict[str, Any]] = {}  # by name, in the order in which they came
        self.token = f"optbench-{uuid.uuid4().hex[:12]}"
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._setup: Setup | None = None
        self._distributions: tuple[str, ...] = ()
        self._gpus: dict[str, int] = {}  # address: that it is shown
        self._generation = 0
        self._names: dict[tuple[str, str], str] = {}
        self._seen: set[str] = set()  # addresses of all workers that the scheduler has
        self._client: Any = None
        found = place_of(text)
        self._local = LocalCluster(found.count, device, self.own["gpus"]) if isinstance(found, Local) else None
        self._place: Place = self._local.place if self._local else found  # type: ignore[assignment]
        try:
            self._connect(wait)
            self._await_worker(wait)
        except TimeoutError as error:
            self.close()
            raise RequestError(f"--cluster {text}: {error}") from None
        except BaseException:
            self.close()
            raise

    @property
    def run(self) -> str:
        """The name of the run that workers are ready for."""
        assert self._setup
        return self._setup.run

    def why_nobody(self) -> str:
        """In brackets, why the workers that are there are not used; nothing where none is there."""
        reasons = list(dict.fromkeys(self.refused.values()))
        return f" ({reasons[0]})" if reasons else ""

    @property
    def slots(self) -> int:
        return sum(worker.slots for worker in self.workers.values())

    @property
    def has_gpu(self) -> bool:
        """Whether any worker that has shown itself is shown a GPU."""
        return any(self._gpus.values())

    @property
    def is_connected(self) -> bool:
        return self._client is not None and bool(self._client.status == "running")

    def prepare(self, setup: Setup, distributions: tuple[str, ...]) -> None:
        """From now on workers are made ready for this run; returns once one is.

        distributions: installed packages of which every machine must have the same version. Raises RequestError where
        every worker is refused.
        """
        self.own = probe.look(distributions)
        self._distributions, self.token = distributions, f"optbench-{setup.run}"
        self._setup = setup
        until = time.monotonic() + max(self._wait, station.START_SECONDS)
        while not self.workers:
            self.next_event(1.0)
            if self._seen and self._seen <= self.refused.keys():
                reasons = list(dict.fromkeys(self.refused.values()))
                more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
                raise RequestError(f"--cluster {self.text}: no worker can be used: {reasons[0]}{more}")
            if not self.is_connected:
                raise RequestError(f"--cluster {self.text}: the scheduler has gone")
            if time.monotonic() > until:
                raise RequestError(f"--cluster {self.text}: no worker was ready in time")

    def submit(self, name: str, task: Callable[..., Any], arguments: tuple[Any, ...], worker: str | None) -> Any:
        """Hand a task to the scheduler. name: its key. worker: the address that it must go to, else anyone's."""
        assert self._client
        where: dict[str, Any] = {"workers": [worker], "allow_other_workers": False} if worker else {}
        future = self._client.submit(task, *arguments, key=name, pure=False, resources={self.token: 1}, **where)
        self._schedule(self._follow(future, self._generation))
        return future

    def next_event(self, seconds: float) -> Event | None:
        """What has happened next, waited for so long; who is there is kept up to date here."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        if event.generation != self._generation:
            return None
        if event.kind == "joined":
            self._joined(*event.content)
        elif event.kind == "left":
            self._left(event.address)
        elif event.kind == "refused" and event.address not in self.refused:
            self.refused[event.address] = event.content
            self._say(f"not used: {event.content}")
        return event

    def dismiss(self, address: str, why: str) -> None:
        """Use a worker no longer."""
        worker = self.workers.get(address)
        if worker:
            self._left(address)
            self.refused[address] = f"{worker.machine}: {why}"
            self._say(f"not used any more: {worker.machine}: {why}")
            self._run(station.revoke, self.token, workers=[address])

    def forget(self, names: dict[str, list[str]]) -> None:
        """Let workers drop answers, by address, whose records are written."""
        for address, some in names.items():
            if self._setup and address in self.workers:
                self._run(station.forget, self._setup.run, some, workers=[address])

    def reconnect(self, seconds: float) -> None:
        """Look for the scheduler again. Raises ExecutorError where it does not come back."""
        self._drop()
        try:
            self._connect(seconds)
        except TimeoutError as error:
            raise ExecutorError(f"{error}; what has ended is kept, the same command goes on") from None

    def close(self) -> None:
        """End the hosts of this run on all workers, the connection, and the workers that were started for it."""
        if self._client and self.is_connected and self._setup and self.workers:
            with contextlib.suppress(Exception):  # gone meanwhile: hosts end by themselves
                ending = self._run(station.close_run, self._setup.run, self.token, workers=[*self.workers])
                ending.result(20)
        self._drop()
        if self._local:
            self._local.close()

    def _connect(self, seconds: float) -> None:
        """Raises TimeoutError with one line."""
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            address = self._place.address(max(0.0, left))
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # versions are our own to compare
                    self._client = Client(address, timeout=max(1.0, min(left, 30.0)), set_as_default=False)
                break
            except (OSError, TimeoutError, ValueError, RuntimeError) as error:
                if isinstance(error, ValueError):
                    raise RequestError(f"--cluster {self.text}: {error}") from None
                if time.monotonic() >= until:
                    raise TimeoutError(f"no scheduler answers at {address} for {seconds:g} s{self._reason()}") from None
                time.sleep(0.5)
        self._generation += 1
        self._seen = set()
        self._schedule(self._watch(self._client, self._generation))

    def _reason(self) -> str:
        why = self._local.why() if self._local else ""
        return f" ({why})" if why else ""

    def _drop(self) -> None:
        for address in [*self.workers]:
            self._left(address)
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(Exception):
                client.close(timeout=5)

    def _await_worker(self, seconds: float) -> None:
        """Until the first worker has shown itself. A task that anyone may take makes an adaptive cluster start one."""
        assert self._client
        call = self._client.submit(eval, "1", key=f"optbench-hello-{uuid.uuid4().hex}", pure=False)
        until = time.monotonic() + seconds
        while not (self._gpus or self.refused):
            if self.next_event(0.2) is None and not self.is_connected:
                raise TimeoutError("the scheduler has gone")
            if time.monotonic() >= until:
                raise TimeoutError(f"the scheduler has no worker, waited for {seconds:g} s{self._reason()}")
        call.release()

    def _joined(self, worker: Worker, found: dict[str, Any]) -> None:
        worker.joined, worker.machine = time.monotonic(), self._machine(worker)
        self.workers[worker.address] = worker
        self.refused.pop(worker.address, None)
        entry = self.machines.setdefault(worker.machine, {"name": worker.machine, "slots": 0})
        entry |= {name: worker.facts[name] for name in ("machine", "versions", "ceiling")}
        entry["slots"] = max(entry["slots"], sum(w.slots for w in self.workers.values() if w.machine == worker.machine))
        self.answers |= {answer["id"]: {**answer, "worker": worker.address} for answer in found["answers"]}
        self.under_way |= {name: (worker.address, blob) for name, blob in found["under_way"].items()}

    def _left(self, address: str) -> None:
        worker = self.workers.pop(address, None)
        self.refused.pop(address, None)
        self._gpus.pop(address, None)
        if worker:
            self._count_presence(worker)

    def presence(self) -> dict[str, float]:
        """Seconds that each machine was there, times what it can run at a time."""
        for worker in self.workers.values():
            self._count_presence(worker)
        return dict(self.present)

    def _count_presence(self, worker: Worker) -> None:
        now = time.monotonic()
        self.present[worker.machine] = self.present.get(worker.machine, 0.0) + worker.slots * (now - worker.joined)
        worker.joined = now

    def _machine(self, worker: Worker) -> str:
        """A machine's host name; with its address where another machine has the same name."""
        same = (worker.host, worker.ip)
        if same not in self._names:
            taken = worker.host in self._names.values()
            self._names[same] = f"{worker.host}@{worker.ip}" if taken else worker.host
        return self._names[same]

    def _schedule(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine on the client's own loop."""
        assert self._client
        loop = self._client.loop.asyncio_loop
        return asyncio.run_coroutine_threadsafe(work, loop)

    def _run(self, function: Callable[..., Any], *arguments: Any, workers: list[str]) -> Future[Any]:
        """Call a function in workers, beside the tasks."""
        assert self._client
        return self._schedule(_call(self._client, 60.0, function, *arguments, workers=workers))

    def _tell(self, kind: str, generation: int, address: str = "", content: Any = None) -> None:
        self._events.put(Event(kind, address, content, generation))

    async def _follow(self, future: Any, generation: int) -> None:
        """Fetch a task's result at once, so that it does not lie where it can be lost."""
        try:
            assert self._client
            answer = await self._client.gather(future, asynchronous=True)
            self._tell("done", generation, future.key, answer)
        except BaseException as error:
            self._tell("broken", generation, future.key, error)

    async def _watch(self, client: Any, generation: int) -> None:
        """Look for workers as long as there is a connection."""
        busy: set[str] = set()
        ready: dict[str, str] = {}  # address: the name under which it is ready
        gate = asyncio.Semaphore(MAX_AT_ONCE)
        subscribed = ""
        while self._client is client:
            count = 0
            with contextlib.suppress(Exception):  # no answer now: asked again
                if self._setup and subscribed != self.token:
                    subscribed = self.token
                    self._subscribe(client, generation)
                before = dict(ready)
                info = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), 30)
                found = info["workers"]
                count = len(found)
                self._seen = set(found)
                for address in [address for address in ready if address not in found]:
                    del ready[address]
                    self._tell("left", generation, address)
                for address, facts in found.items():
                    lost = address in before and before[address] == "run" and self.token not in facts["resources"]
                    if lost:  # another process has taken its address
                        ready.pop(address, None)
                        self._tell("left", generation, address)
                    wanted = "run" if self._setup else "shown"
                    if ready.get(address) not in (wanted, "refused") and address not in busy:
                        busy.add(address)
                        work = self._admit(client, generation, address, facts, ready, busy, gate)
                        _keep(asyncio.ensure_future(work))
            await asyncio.sleep(LOOK_SECONDS + LOOK_SECONDS_A_WORKER * count)

    async def _admit(
        self,
        client: Any,
        generation: int,
        address: str,
        info: dict[str, Any],
        ready: dict[str, str],
        busy: set[str],
        gate: asyncio.Semaphore,
    ) -> None:
        """Have one worker show itself and make it ready; it is tried again where it gives no answer."""
        setup = self._setup
        try:
            async with gate:
                text = f"(lambda there: (exec({_TEXT!r}, there), there['look']({self._distributions!r}))[1])({{}})"
                shown = await _call(client, PROBE_SECONDS, eval, text, workers=[address])
                self._gpus[address] = shown["gpus"]
                if why := self._why_not(shown):
                    ready[address] = "refused"
                    self._tell("refused", generation, address, f"{shown['host']}: {why}")
                    return
                if setup is None:
                    ready[address] = "shown"
                    return
                slots = 1 if setup.options.device == "cuda" else info["nthreads"]
                told = {**vars(setup), "slots": slots}
                limit = station.START_SECONDS + 60.0
                found = await _call(
                    client, limit, station.open_run, setup.run, told, self.token, slots, workers=[address]
                )
                if "refused" in found:
                    ready[address] = "refused"
                    self._tell("refused", generation, address, f"{shown['host']}: {found['refused']}")
                    return
                ready[address] = "run"
                worker = Worker(address, shown["host"], info["host"], slots, found["life"], found["facts"])
                self._tell("joined", generation, address, (worker, found))
        except Exception:  # gone, or silent: whoever is still there is asked again
            await asyncio.sleep(1.0)
        finally:
            busy.discard(address)

    def _why_not(self, shown: dict[str, Any]) -> str:
        """Why a machine may give other records, in a few words; nothing where it gives the same."""
        if shown["source"] is None:
            return "optbench is not installed there"
        for name, here in self.own["versions"].items():
            if shown["versions"].get(name) != here:
                return f"{name} {shown['versions'].get(name) or 'is not installed'} there, {here} here"
        if shown["source"] != self.own["source"]:
            return "the source of optbench is another one there than here, though its version is the same"
        if self._setup:
            needed = self._setup.options.memory
            if shown["memory"] and shown["memory"] < self._setup.options.memory_bytes:
                return f"{shown['memory'] / 2**30:.3g} GiB of memory there, a process may take {needed:g}; see --memory"
            if self._setup.options.device == "cuda" and not shown["gpus"]:
                return "no GPU there, and the run is for --device cuda"
        return ""

    def _subscribe(self, client: Any, generation: int) -> None:
        def heard(event: tuple[float, dict[str, Any]]) -> None:
            message = event[1]
            self._tell(message["kind"], generation, message["worker"], message)

        client.subscribe_topic(self.token, heard)


_KEPT: set[asyncio.Future[Any]] = set()


def _keep(work: asyncio.Future[Any]) -> None:
    """An event loop holds its tasks weakly."""
    _KEPT.add(work)
    work.add_done_callback(_KEPT.discard)


async def _call(client: Any, seconds: float, function: Callable[..., Any], *arguments: Any, workers: list[str]) -> Any:
    """A function's value in one worker. Raises whatever it raises, and TimeoutError."""
    found = await asyncio.wait_for(client.run(function, *arguments, workers=workers, asynchronous=True), seconds)
    return found[workers[0]]
