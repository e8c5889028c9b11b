"""What runs inside a dask worker: one host process a run, which runs lane groups outside of it. Standard library, dask.

dask's workers are daemons, which may have no children of multiprocessing's, and their process must stay free to answer
the scheduler. So the pool lives in a process of its own, as long as the worker does: starting one for every group costs
more than most groups. Lane groups stay pickled here, so that this process never imports torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Any

from optbench.execution.cluster import frames
from optbench.execution.cluster.outbox import Outbox, remove_old, run_folder

START_SECONDS = 300.0  # that a host may take until it can work
END_SECONDS = 10.0  # that a host may take to be gone
MAX_FAILED_STARTS = 3  # of hosts in a row
_stations: dict[str, Station] = {}
_opening = threading.Lock()
LIFE = uuid.uuid4().hex[:12]  # of this process: a worker that is started again has another


class Station:
    """The host process of one run on this worker, started again when it is lost."""

    def __init__(self, run: str, setup: dict[str, Any]) -> None:
        self.run, self.setup = run, setup
        self.facts: dict[str, Any] = {}
        self.outbox = Outbox(run)
        self._lock = threading.Lock()
        self._host: subprocess.Popen[bytes] | None = None
        self._waiting: dict[str, Future[dict[str, Any]]] = {}
        self._blobs: dict[str, bytes] = {}
        self._failed = 0

    def start(self) -> str:
        """Start the host where it does not run; why it cannot be used, or nothing."""
        with self._lock:
            return self._start()

    def ask(self, messages: dict[str, dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
        """The host's answers to messages by their id; the same one where it is being worked on already.

        An answer that says what was `lost` says whom to `blame`: "machine", "group", "nobody", or "unknown".
        """
        with self._lock:
            if why := self._start():
                return [{"id": name, "lost": why, "blame": "machine"} for name in messages]
            answers = {name: self._hand_over(name, message) for name, message in messages.items()}
        until = time.monotonic() + seconds
        found = []
        for name, answer in answers.items():
            try:
                found.append(answer.result(max(0.0, until - time.monotonic())))
            except Late:
                self.end()  # so that the others are answered soon
                until = time.monotonic() + END_SECONDS
                lost = f"its host process gave no answer for {seconds:g} s"
                found.append({"id": name, "lost": lost, "blame": "unknown"})
        return found

    def _hand_over(self, name: str, message: dict[str, Any]) -> Future[dict[str, Any]]:
        answer = self._waiting.get(name)
        if answer is None:
            answer = self._waiting[name] = Future()
            if "group" in message:
                self._blobs[name] = message["group"]
            with contextlib.suppress(OSError):  # gone, as its reader will see
                assert self._host and self._host.stdin
                frames.send(self._host.stdin, {**message, "id": name})
        return answer

    def under_way(self) -> dict[str, bytes]:
        """The lane groups that the host has, pickled, by their id."""
        with self._lock:
            return {name: self._blobs[name] for name in self._waiting if name in self._blobs}

    def end(self) -> None:
        """End the host and what it runs."""
        with self._lock:
            host, self._host = self._host, None
            if host:
                _end(host)

    def _start(self) -> str:
        if self._host and self._host.poll() is None:
            return ""
        if self._failed >= MAX_FAILED_STARTS:
            return f"its host process does not start ({self.facts.get('refused', 'it ends at once')})"
        command = [sys.executable, "-m", "optbench.execution.cluster.host"]
        try:
            host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        except OSError as error:
            return f"no process can be started: {error.strerror}"
        assert host.stdin and host.stdout
        with contextlib.suppress(OSError, EOFError):
            frames.send(host.stdin, self.setup)
            watch = threading.Timer(START_SECONDS, host.kill)
            watch.start()
            try:
                self.facts = frames.receive(host.stdout)
            finally:
                watch.cancel()
            if "refused" not in self.facts:
                self._host, self._failed = host, 0
                threading.Thread(target=self._read, args=(host,), daemon=True).start()
                return ""
            self._failed = MAX_FAILED_STARTS
            _end(host)
            return str(self.facts["refused"])
        self._failed += 1
        _end(host)
        return f"its host process ended with code {host.returncode} before it could work"

    def _read(self, host: subprocess.Popen[bytes]) -> None:
        """Hand on the host's answers; what it has not answered when it ends is lost."""
        with contextlib.suppress(Exception):  # it has ended, or said what no host says
            while host.stdout:
                answer = frames.receive(host.stdout)
                self._answered(answer["id"], answer)
        _end(host)
        with self._lock:
            if self._host is host:
                self._host = None
            for name in [*self._waiting]:
                self._answer(name, {"id": name, "lost": "its host process was lost", "blame": "unknown"})

    def _answered(self, name: str, answer: dict[str, Any]) -> None:
        with self._lock:
            self._answer(name, answer)

    def _answer(self, name: str, answer: dict[str, Any]) -> None:
        self._blobs.pop(name, None)
        future = self._waiting.pop(name, None)
        if future and not future.done():
            future.set_result(answer)


def _end(host: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        host.kill()
    host.wait()
    for stream in (host.stdin, host.stdout):
        with contextlib.suppress(OSError):
            if stream:
                stream.close()


async def open_run(run: str, setup: dict[str, Any], token: str, slots: int, dask_worker: Any = None) -> dict[str, Any]:
    """Make this worker ready for a run and let the scheduler know: {refused}, or {facts, life, answers, under_way}.

    setup: what the host needs. token: the resource that lane groups of the run ask for; slots: how many at a time.
    """
    try:
        station = await asyncio.to_thread(_opened, run, setup)
        why = await asyncio.to_thread(station.start)
        if why:
            _stations.pop(run, None)
            return {"refused": why}
        found = {
            "facts": station.facts,
            "life": LIFE,
            "under_way": station.under_way(),
            "answers": station.outbox.all(),
        }
    except OSError as error:
        return {"refused": f"its folder for temporary files takes none: {error.strerror}"}
    await dask_worker.set_resources(**{token: slots})
    return found


def _opened(run: str, setup: dict[str, Any]) -> Station:
    with _opening:
        if run not in _stations:
            remove_old(run)
            _stations[run] = Station(run, setup)
        return _stations[run]


async def revoke(token: str, dask_worker: Any = None) -> None:
    """Let no more lane groups of a run come to this worker."""
    await dask_worker.set_resources(**{token: 0})


async def forget(run: str, names: list[str]) -> None:
    """Drop answers whose records are written."""
    station = _stations.get(run)
    if station:
        await asyncio.to_thread(station.outbox.forget, names)


async def close_run(run: str, token: str, dask_worker: Any = None) -> None:
    """The run is over: end its host and remove its files."""
    station = _stations.pop(run, None)
    if station:
        await asyncio.to_thread(station.end)
    with contextlib.suppress(OSError):
        await asyncio.to_thread(shutil.rmtree, run_folder(run), True)
    await dask_worker.set_resources(**{token: 0})


def run_groups(run: str, groups: list[tuple[str, bytes]], seconds: float) -> list[dict[str, Any]]:
    """Run lane groups and say how each ended: a task of dask's, which blocks one of the worker's threads.

    groups: (id, pickled group). seconds: after which no answer will come any more.
    """
    return _task(run, {name: {"kind": "run", "group": group} for name, group in groups}, seconds)


def measure_widths(run: str, name: str, wanted: bytes, seconds: float) -> dict[str, Any]:
    """How many lanes pay on this machine, for each of the pickled configurations."""
    return _task(run, {name: {"kind": "widths", "wanted": wanted}}, seconds)[0]


def _task(run: str, messages: dict[str, dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """The host's answers. One message by itself is announced, so that its blame for a lost worker can be known."""
    from distributed import get_worker

    worker = get_worker()
    here = {"worker": worker.address, "life": LIFE, "pid": os.getpid()}
    station = _stations.get(run)
    if station is None:  # the worker was started again and is not ready for the run
        return [{"id": name, "lost": "its worker was started again", "blame": "nobody", **here} for name in messages]
    told = [{"id": name, **here} for name in messages] if len(messages) == 1 else []
    for one in told:
        worker.log_event(f"optbench-{run}", {"kind": "began", **one})
    kept = {name: answer for name in messages if (answer := station.outbox.get(name))}
    open_messages = {name: message for name, message in messages.items() if name not in kept}
    answers = [*kept.values(), *(station.ask(open_messages, seconds) if open_messages else ())]
    for one in told:
        worker.log_event(f"optbench-{run}", {"kind": "ended", **one})
    return [{**answer, **here} for answer in answers]
