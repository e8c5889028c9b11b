"""The connection to a scheduler: tasks go out, and what happens comes back as events, in order.

A task of its own on dask's event loop looks for workers, has each show what it is (`probe`) and, once there is a run to
be ready for, makes it ready. Nothing here waits for a worker that gives no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from optbench.core.trial import RequestError
from optbench.execution.cluster import probe, station
from optbench.execution.cluster.machines import Worker
from optbench.execution.cluster.place import Place
from optbench.execution.cluster.setup import Setup

PROBE_SECONDS = 60.0  # that a worker may take to show what it is
MAX_AT_ONCE = 64  # workers that are made ready at a time
LOOK_SECONDS, LOOK_SECONDS_A_WORKER = 1.0, 0.005  # between two looks at who is there
FIRST_LOOK_SECONDS = 0.1  # between looks as long as no worker is ready
AGAIN_SECONDS = 1.0  # after which a worker that gave no answer is asked again
_TEXT = Path(probe.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Event:
    """Something that has happened.

    kind: a worker has "shown" itself, has "joined", has "left" or was "refused" (address: the worker's); a group has
    "began" or "ended" there; a task is "done" or "broken" (address: its key).
    """

    kind: str
    address: str = ""
    content: Any = None
    generation: int = 0


class Link:
    """A connection that can be dropped and made again; events of an earlier one are not handed out."""

    def __init__(self, place: Place, why_not: Callable[[dict[str, Any]], str]) -> None:
        """why_not: why a machine that has shown itself cannot be used; "" where it can."""
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self.seen: set[str] = set()  # addresses of all workers that the scheduler has
        self.setup: Setup | None = None  # what workers are made ready for
        self.distributions: tuple[str, ...] = ()
        self._place, self._why_not = place, why_not
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._generation = 0
        self._client: Any = None
        self._kept: set[asyncio.Future[Any]] = set()  # an event loop holds its tasks weakly

    @property
    def is_connected(self) -> bool:
        return self._client is not None and bool(self._client.status == "running")

    @property
    def token(self) -> str:
        """The resource that workers have which are ready, and the topic that they report on."""
        return f"optbench-{self.setup.run}" if self.setup else ""

    def connect(self, seconds: float) -> None:
        """Raises TimeoutError with one line where no scheduler answers, RequestError for what can be no address."""
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            address = self._place.address(left)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # versions are our own to compare
                    self._client = Client(address, timeout=max(1.0, min(left, 30.0)), set_as_default=False)
                break
            except ValueError as error:
                raise RequestError(f"--cluster: {error}") from None
            except (OSError, TimeoutError, RuntimeError):
                if time.monotonic() >= until:
                    raise TimeoutError(f"no scheduler answers at {address}, waited for {seconds:g} s") from None
                time.sleep(0.5)
        self._generation += 1
        self.seen = set()
        self._schedule(self._watch(self._client, self._generation))

    def drop(self) -> None:
        """Let go of the connection, if there is one."""
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(Exception):
                client.close(timeout=5)

    def submit(self, name: str, task: Callable[..., Any], *arguments: Any, worker: str = "") -> Any:
        """Hand a task to the scheduler; dask's future. name: its key. worker: the address that it must go to."""
        where: dict[str, Any] = {"workers": [worker], "allow_other_workers": False} if worker else {}
        if self.setup:
            where["resources"] = {self.token: 1}
        future = self._client.submit(task, *arguments, key=name, pure=False, **where)
        self._schedule(self._follow(self._client, future, self._generation))
        return future

    def call(self, function: Callable[..., Any], *arguments: Any, workers: list[str]) -> Future[Any]:
        """Call a function in workers, beside the tasks."""
        return self._schedule(self._call(self._client, PROBE_SECONDS, function, *arguments, workers=workers))

    def next_event(self, seconds: float) -> Event | None:
        """What has happened next, waited for so long."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            return None
        return event if event.generation == self._generation else None

    def _schedule(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine on the client's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._client.loop.asyncio_loop)

    def _tell(self, kind: str, generation: int, address: str = "", content: Any = None) -> None:
        self._events.put(Event(kind, address, content, generation))

    async def _call(
        self, client: Any, seconds: float, function: Callable[..., Any], *arguments: Any, workers: list[str]
    ) -> Any:
        """A function's value in the first of these workers. Raises whatever it raises, and TimeoutError."""
        found = await asyncio.wait_for(client.run(function, *arguments, workers=workers, asynchronous=True), seconds)
        return found[workers[0]]

    async def _follow(self, client: Any, future: Any, generation: int) -> None:
        """Fetch a task's result at once: one that lies on a worker is computed again when that is lost."""
        try:
            self._tell("done", generation, str(future.key), await client.gather(future, asynchronous=True))
        except BaseException as error:
            self._tell("broken", generation, str(future.key), error)

    async def _watch(self, client: Any, generation: int) -> None:
        """Look for workers as long as there is this connection."""
        ready: dict[str, str] = {}  # address: "shown", "refused", or what it is ready for
        busy: set[str] = set()
        gate = asyncio.Semaphore(MAX_AT_ONCE)
        topic = ""
        while self._client is client:
            with contextlib.suppress(Exception):  # no answer now: asked again
                token = self.token
                if token != topic:
                    client.subscribe_topic(token, lambda event: self._heard(event[1], generation))
                    topic = token
                before = dict(ready)
                found = (await asyncio.wait_for(client.scheduler.identity(n_workers=-1), 30))["workers"]
                self.seen = set(found)
                for address in before:
                    gone = address not in found
                    # Another process has taken its address where it is not known any more to be ready.
                    if gone or (before[address] == token != "" and token not in found[address]["resources"]):
                        ready.pop(address, None)
                        self._tell("left", generation, address)
                for address in found.keys() - busy:
                    if ready.get(address) not in (token or "shown", "refused"):
                        busy.add(address)
                        work = self._admit(client, generation, address, found[address], ready, gate)
                        task = asyncio.ensure_future(work)
                        self._kept.add(task)
                        task.add_done_callback(self._kept.discard)
                        task.add_done_callback(lambda _, address=address: busy.discard(address))  # type: ignore[misc]
            is_ready = (self.token or "shown") in ready.values()
            await asyncio.sleep(
                (LOOK_SECONDS if is_ready else FIRST_LOOK_SECONDS) + LOOK_SECONDS_A_WORKER * len(self.seen)
            )

    def _heard(self, message: dict[str, Any], generation: int) -> None:
        self._tell(message["kind"], generation, message["worker"], message)

    async def _admit(
        self,
        client: Any,
        generation: int,
        address: str,
        info: dict[str, Any],
        ready: dict[str, str],
        gate: asyncio.Semaphore,
    ) -> None:
        """Have one worker show itself and make it ready; it is tried again where it gives no answer."""
        setup, token = self.setup, self.token
        try:
            async with gate:
                # As text: a function would be unpickled there, and so need what may not be installed.
                text = f"(lambda there: (exec({_TEXT!r}, there), there['look']({self.distributions!r}))[1])({{}})"
                shown = await self._call(client, PROBE_SECONDS, eval, text, workers=[address])
                why = self._why_not(shown)
                if setup and not why:
                    slots = 1 if setup.options.device == "cuda" else info["nthreads"]
                    told = {**vars(setup), "slots": slots}
                    found = await self._call(
                        client,
                        station.START_SECONDS + PROBE_SECONDS,
                        station.open_run,
                        setup.run,
                        told,
                        token,
                        slots,
                        workers=[address],
                    )
                    why = found.get("refused", "")
                if why:
                    ready[address] = "refused"
                    self._tell("refused", generation, address, f"{shown['host']}: {why}")
                elif setup:
                    ready[address] = token
                    worker = Worker(address, shown["host"], info["host"], slots, found["facts"])
                    self._tell("joined", generation, address, (worker, found))
                else:
                    ready[address] = "shown"
                    self._tell("shown", generation, address, shown)
        except Exception:  # gone, or silent
            await asyncio.sleep(AGAIN_SECONDS)
