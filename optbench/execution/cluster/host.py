"""The host process of a run on a cluster's worker: lane groups through a pool, until the worker is gone or says so.

    python -m optbench.execution.cluster.host

Started by a `Station`. It is told what to do through stdin and answers through stdout, in frames.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, BinaryIO

from optbench.core.trial import RequestError
from optbench.execution import machine
from optbench.execution.cluster import frames
from optbench.execution.cluster.outbox import Outbox, run_folder
from optbench.execution.cluster.parcel import places, unpack
from optbench.execution.cluster.setup import Setup, see_that_it_is_the_same
from optbench.execution.environment import WORKER_THREADS
from optbench.execution.executor import ExecutorError
from optbench.execution.pool import PoolExecutor
from optbench.execution.start import start_fork_server
from optbench.execution.task import LaneGroup, Outcome
from optbench.execution.width import worthwhile
from optbench.registry.catalog import Catalog
from optbench.registry.process_state import unchanged_process
from optbench.registry.specs import one_line

IDLE_SECONDS = 3600.0  # after which a host that nobody asks for anything ends


class Host:
    """One run's pool on this machine, and what it has to do."""

    def __init__(self, setup: Setup, out: BinaryIO) -> None:
        """Raises RequestError where this machine cannot run what the run asks for."""
        self._out = out
        self._folder = run_folder(setup.run)
        self._outbox = Outbox(setup.run)
        self._slots = setup.slots
        self._names: dict[LaneGroup, str] = {}  # the ids of the groups in the pool
        self._moved = unpack(setup.parcel, self._folder)
        roots = places(setup.parcel, self._folder)
        os.chdir(roots[0])  # a relative path means here what it means where the run was started
        sys.path[:0] = roots
        self._options = replace(setup.options, moved=tuple(self._moved.items()), plugins=())
        machine.device(self._options.device)
        files = [self._moved.get(file, file) for file in setup.files]
        start_fork_server()  # in that folder, which worker processes take over
        self._catalog = Catalog(files, guarded=True, moved=self._moved)
        see_that_it_is_the_same(setup, self._catalog)
        self._busy = time.monotonic()

    def serve(self, inbox: queue.SimpleQueue[dict[str, Any] | None], bell: Connection) -> None:
        """Until the inbox says that the worker is gone."""
        pool = self._pool()
        try:
            while True:
                try:
                    for outcome in pool.step((bell,)):
                        self._answer(outcome)
                except ExecutorError as error:
                    pool.close()
                    self._failed(error)
                    pool = self._pool()
                while bell.poll():
                    bell.recv_bytes()
                while not inbox.empty():
                    message = inbox.get()
                    if message is None:
                        return
                    self._take(message, pool)
                if not self._names and time.monotonic() - self._busy > IDLE_SECONDS:
                    return
        finally:
            pool.close()

    def _pool(self) -> PoolExecutor:
        spool = self._folder / f"spool-{os.getpid()}"
        pool = PoolExecutor(self._catalog, self._options, spool, self._slots, WORKER_THREADS)
        pool.begin()
        return pool

    def _take(self, message: dict[str, Any], pool: PoolExecutor) -> None:
        self._busy = time.monotonic()
        if message["kind"] == "widths":
            self._tell({"id": message["id"], "widths": self._widths(pickle.loads(message["wanted"]))})
            return
        group: LaneGroup = pickle.loads(message["group"])
        group = replace(group, files=self._here(group.files))
        if group.scorer:
            group = replace(group, scorer=(group.scorer[0], self._here(group.scorer[1])))
        self._names[group] = message["id"]
        pool.submit([group])

    def _here(self, files: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self._moved.get(file, file) for file in files)

    def _answer(self, outcome: Outcome) -> None:
        lines = [record.line() for record in outcome.records]
        answer = {"lines": lines, "seconds": outcome.seconds, "full": outcome.out_of_memory}
        answer |= {"id": self._names.pop(outcome.group), "alone": outcome.group.alone}
        answer["keys"] = [trial.key for trial in outcome.group.trials]
        with contextlib.suppress(OSError):  # a full disk keeps nothing for later; the answer itself still goes
            self._outbox.put(answer)
        self._tell(answer)

    def _failed(self, error: ExecutorError) -> None:
        """The pool has failed, and all that it had: whose fault it was, if it was a group's, is said."""
        for group, name in self._names.items():
            blame = "group" if group == error.group else "nobody" if error.group else "machine"
            self._tell({"id": name, "lost": str(error), "blame": blame})
        self._names.clear()

    def _tell(self, answer: dict[str, Any]) -> None:
        self._busy = time.monotonic()
        frames.send(self._out, answer)

    def _widths(self, wanted: list[tuple[str, str, dict[str, Any], float, int]]) -> list[int]:
        """Lanes that pay, for every (problem, optimizer, settings, passes, trials)."""
        found = []
        with unchanged_process(), machine.threads(WORKER_THREADS):
            for name, optimizer, hyper, passes, trials in wanted:
                problem, built = self._catalog.problem(name), self._catalog.optimizer(optimizer, hyper)
                options = self._options
                found.append(worthwhile(problem, built, passes, options.device, trials, options.eager))
        return found


def main() -> int:
    """Serve until the worker that started this is gone."""
    inbound, outbound = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # whatever is printed here must not come between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends its workers itself
    try:
        setup = Setup(**frames.receive(inbound))
        with contextlib.redirect_stdout(open(os.devnull, "w")):  # as long as this process
            host = Host(setup, outbound)
        ceiling = machine.ceiling(setup.options.device)
    except EOFError:
        return 0
    except BaseException as error:
        why = str(error) if isinstance(error, RequestError) else one_line(error)
        frames.send(outbound, {"refused": why})
        return 0
    facts = {"machine": machine.describe(), "versions": machine.versions(), "ceiling": ceiling}
    frames.send(outbound, facts)
    inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    ring, bell = Pipe()
    threading.Thread(target=_listen, args=(inbound, inbox, ring), daemon=True).start()
    with contextlib.suppress(OSError):  # the worker has gone while it was told something
        host.serve(inbox, bell)
    os._exit(0)  # code of others may have left threads behind


def _listen(inbound: BinaryIO, inbox: queue.SimpleQueue[dict[str, Any] | None], ring: Connection) -> None:
    """Put what the worker says into the inbox and ring."""
    while True:
        try:
            message = frames.receive(inbound)
        except (EOFError, OSError):
            message = None
        inbox.put(message)
        ring.send_bytes(b"x")
        if message is None:
            return


if __name__ == "__main__":
    sys.exit(main())
