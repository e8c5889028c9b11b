"""The coordinator's side of a cluster: its scheduler, the machines that may work, and those that are refused."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from optbench.core.trial import RequestError
from optbench.execution.cluster import probe, station
from optbench.execution.cluster.link import Event, Link
from optbench.execution.cluster.local import LocalCluster
from optbench.execution.cluster.machines import Machines
from optbench.execution.cluster.place import Local, place_of
from optbench.execution.cluster.setup import Setup
from optbench.execution.executor import ExecutorError

MAX_AWAY_SECONDS = 900.0  # that a run goes on waiting for a scheduler or for any worker


class Session:
    """One run's use of a cluster. Close it, whatever happens.

    Raises RequestError where there is no scheduler or no worker within the time that may be waited.
    """

    def __init__(
        self,
        text: str,
        wait: float,
        device: str,
        say: Callable[[str], Any],
        known: Iterable[dict[str, Any]] = (),
    ) -> None:
        """text: what `--cluster` names. wait: seconds. device: "cpu", "cuda" or "auto". say: told who is refused.

        known: machines of an earlier coordinator of the run, as environment.json has them.
        """
        self.machines = Machines(known)
        self.refused: dict[str, str] = {}  # address: why
        self.answers: dict[str, dict[str, Any]] = {}  # that lay on workers' machines, by the id of their group
        self.under_way: dict[str, tuple[str, bytes]] = {}  # id: (address, group) of what workers had when they joined
        self.has_gpu = False  # a worker that has shown itself is shown a GPU
        self._text, self._wait, self._say = text, wait, say
        self._own = probe.look(())
        found = place_of(text)
        self._local: LocalCluster | None = None
        if isinstance(found, Local):
            self._local = LocalCluster(found.count, device, self._own["gpus"])
            found = self._local.place
        self.link = Link(found, self._why_not)
        try:
            self.link.connect(wait)
            self._await_worker(wait)
        except TimeoutError as error:
            reason = self._local.why() if self._local else ""
            self.close()
            raise RequestError(f"--cluster {text}: {error}{f' ({reason})' if reason else ''}") from None
        except BaseException:
            self.close()
            raise

    @property
    def run(self) -> str:
        """The name of the run that workers are ready for."""
        assert self.link.setup
        return self.link.setup.run

    def prepare(self, setup: Setup, distributions: tuple[str, ...]) -> None:
        """From now on workers are made ready for this run; returns once one is.

        distributions: installed packages of which every machine must have the same version. Raises RequestError where
        every worker is refused.
        """
        self._own = probe.look(distributions)
        self.link.distributions = distributions
        self.link.setup = setup
        until = time.monotonic() + max(self._wait, station.START_SECONDS)
        while not self.machines.workers:
            self.next_event(1.0)
            if self.link.seen and self.link.seen <= self.refused.keys():
                reasons = list(dict.fromkeys(self.refused.values()))
                more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
                raise RequestError(f"--cluster {self._text}: no worker can be used: {reasons[0]}{more}")
            if not self.link.is_connected or time.monotonic() > until:
                why = "no worker was ready in time" if self.link.is_connected else "the scheduler has gone"
                raise RequestError(f"--cluster {self._text}: {why}")

    def next_event(self, seconds: float) -> Event | None:
        """What has happened next, waited for so long; who is there is kept up to date here."""
        event = self.link.next_event(seconds)
        if event is None:
            return None
        if event.kind == "shown":
            self.has_gpu = self.has_gpu or bool(event.content["gpus"])
        elif event.kind == "joined":
            worker, found = event.content
            self.machines.join(worker)
            self.refused.pop(worker.address, None)
            self.answers |= {answer["id"]: {**answer, "worker": worker.address} for answer in found["answers"]}
            self.under_way |= {name: (worker.address, blob) for name, blob in found["under_way"].items()}
        elif event.kind == "left":
            self.machines.leave(event.address)
            self.refused.pop(event.address, None)
        elif event.kind == "refused" and event.address not in self.refused:
            self.refused[event.address] = event.content
            self._say(f"not used: {event.content}")
        return event

    def dismiss(self, address: str, why: str) -> None:
        """Use a worker no longer."""
        worker = self.machines.workers.get(address)
        if worker:
            self.machines.leave(address)
            self.refused[address] = f"{worker.machine}: {why}"
            self._say(f"not used any more: {worker.machine}: {why}")
            self.link.call(station.revoke, self.link.token, workers=[address])

    def forget(self, names: dict[str, list[str]]) -> None:
        """Let workers drop answers, by address, whose records are written."""
        for address, some in names.items():
            if address in self.machines.workers and self.link.is_connected:
                self.link.call(station.forget, self.run, some, workers=[address])

    def reconnect(self, seconds: float) -> None:
        """Look for the scheduler again. Raises ExecutorError where it does not come back."""
        self._drop()
        try:
            self.link.connect(seconds)
        except TimeoutError as error:
            raise ExecutorError(f"{error}; what has ended is kept, the same command goes on") from None

    def close(self) -> None:
        """End the hosts of this run on all workers, the connection, and the workers that were started for it."""
        if self.link.is_connected and self.link.setup and self.machines.workers:
            with contextlib.suppress(Exception):  # gone meanwhile: hosts end by themselves
                everyone = [*self.machines.workers]
                self.link.call(station.close_run, self.run, self.link.token, workers=everyone).result(20)
        self._drop()
        if self._local:
            self._local.close()

    def _drop(self) -> None:
        for address in [*self.machines.workers]:
            self.machines.leave(address)
        self.link.drop()

    def _await_worker(self, seconds: float) -> None:
        """Until the first worker has shown itself. A task that anyone may take makes an adaptive cluster start one."""
        call = self.link.submit(f"optbench-hello-{uuid.uuid4().hex}", eval, "1")
        until = time.monotonic() + seconds
        while True:
            event = self.next_event(0.2)
            if event and event.kind in ("shown", "refused"):
                break
            if not self.link.is_connected:
                raise TimeoutError("the scheduler has gone")
            if time.monotonic() >= until:
                raise TimeoutError(f"the scheduler has no worker, waited for {seconds:g} s")
        call.release()

    def _why_not(self, shown: dict[str, Any]) -> str:
        """Why a machine may give other records, in a few words; nothing where it gives the same."""
        if shown["source"] is None:
            return "optbench is not installed there"
        for name, here in self._own["versions"].items():
            if shown["versions"].get(name) != here:
                return f"{name} {shown['versions'].get(name) or 'is not installed'} there, {here or 'none'} here"
        if shown["source"] != self._own["source"]:
            return "the source of optbench is another one there than here, though its version is the same"
        if self.link.setup:
            options = self.link.setup.options
            if shown["memory"] and shown["memory"] < options.memory_bytes:
                there = f"{shown['memory'] / 2**30:.3g} GiB of memory there"
                return f"{there}, and a process may take {options.memory:g} GiB; see --memory"
            if options.device == "cuda" and not shown["gpus"]:
                return "no GPU there, and the run is for --device cuda"
        return ""
