"""Lane groups through a pool of worker processes, each of which can be timed out or killed without hurting another."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import psutil
import torch
from pebble import ProcessExpired, ProcessPool

from optbench.core.objective import Objective
from optbench.core.scoring import Point
from optbench.core.trial import Trial
from optbench.execution.lane_group import blank, run_group
from optbench.execution.memory import parts
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog

_EXIT_MEMORY, _EXIT_DEAF, _EXIT_ORPHAN = 85, 86, 87
_REFUSED_MOST = 1_000  # calls after Stop before an optimizer counts as deaf to it
_TAIL = 400  # characters of a failed trial's output that go into its record


@dataclass(frozen=True)
class Limits:
    """What one trial may take."""

    timeout: float  # seconds
    memory: float  # GiB a worker may hold


def sweep(
    groups: Sequence[Sequence[Trial]],
    catalog: Catalog,
    spool: Path,
    workers: int,
    limits: Limits,
    threads: int = 1,
    alone: bool = False,
) -> Iterator[tuple[list[Record], float]]:
    """Records of every group as it ends, with the seconds it took its worker.

    What a group had measured when it was stopped is in its records. A lane group that fails as a whole is run again
    trial by trial; one that took too much memory, in halves. alone: the clocks of these trials count. Other people's
    code may leave its process changed (a default type, a patched function): it has workers that run nothing else.
    """
    kinds: dict[tuple[str, ...], list[Sequence[Trial]]] = {}
    for group in groups:
        kinds.setdefault(catalog.third_party(group[0].problem, group[0].optimizer), []).append(group)
    for _, some in sorted(kinds.items()):
        yield from _pooled(some, catalog, spool, min(workers, len(some)), limits, threads, alone)


def _pooled(
    groups: Sequence[Sequence[Trial]],
    catalog: Catalog,
    spool: Path,
    workers: int,
    limits: Limits,
    threads: int,
    alone: bool,
) -> Iterator[tuple[list[Record], float]]:
    """The records of groups through one pool."""
    spool.mkdir(exist_ok=True)
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # The FLOP counter draws in torch._dynamo at its first use: a second a worker, were it not inherited.
        context.set_forkserver_preload([__name__, "torch._dynamo", "torch.fx.experimental.proxy_tensor"])
        _apart(forkserver.ensure_running)
    pool = ProcessPool(
        max_workers=workers,
        context=context,
        initializer=_prepare,
        initargs=(catalog.files, os.getpid(), int(limits.memory * 2**30), threads),
    )
    waiting: dict[Any, Sequence[Trial]] = {}

    def submit(some: Iterable[Sequence[Trial]]) -> None:
        for group in some:
            where = str(spool / group[0].key)
            work = pool.schedule(_work, args=[list(group), where, alone], timeout=limits.timeout * len(group))
            waiting[work] = group

    try:
        submit(groups)
        while waiting:
            done, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                group = waiting.pop(future)
                records, took = _outcome(future, group, catalog, spool / group[0].key, limits)
                if len(group) > 1 and any(record.status in ("failed", "timeout", "killed") for record in records):
                    submit(_parts(group, records[0].error == _why(_EXIT_MEMORY, limits)))
                    continue
                for record in records:
                    record.wall_seconds = took / len(records)
                yield records, took
    finally:
        pool.stop()
        pool.join()
        for left in spool.iterdir():
            left.unlink()
        spool.rmdir()


def _apart(start: Callable[[], None]) -> None:
    """Start the process that starts workers, deaf to Ctrl-C and mute.

    This process ends its workers itself and says so in one line; one that is ended while it starts prints a traceback.
    """
    resource_tracker.ensure_running()  # the fork server needs it, and starting it would let interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    errors, quiet = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    try:
        start()
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(quiet)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _outcome(
    future: Any, group: Sequence[Trial], catalog: Catalog, where: Path, limits: Limits
) -> tuple[list[Record], float]:
    """The records of a group that has ended, one way or another, and the seconds it took."""
    records: list[Record] = []
    took = limits.timeout * len(group)
    try:
        records, took = future.result()
        status, reason = "", ""
    except concurrent.futures.TimeoutError:
        status, reason = "timeout", f"did not return within {limits.timeout:g} s"
    except ProcessExpired as error:
        status, reason = "killed", _why(error.exitcode, limits)
    except Exception as error:  # what came back could not be read
        status, reason = "failed", f"{type(error).__name__}: {error}"
    if status:
        records = [blank(trial, catalog) for trial in group]
        for record in records:
            record.status, record.error, record.lanes = status, reason, len(group)
        _salvage(records, where)
    where.unlink(missing_ok=True)
    return records, took


def _parts(group: Sequence[Trial], memory: bool) -> list[Sequence[Trial]]:
    """A group that ended badly, to be run again: in halves where it took too much memory, else trial by trial."""
    middle = len(group) // 2
    return [group[:middle], group[middle:]] if memory else [[trial] for trial in group]


def _why(code: int | None, limits: Limits) -> str:
    if code == _EXIT_MEMORY:
        return f"took more than {limits.memory:g} GiB of memory"
    if code == _EXIT_DEAF:
        return f"ignored the budget: {_REFUSED_MOST} calls after Stop"
    if code is not None and code < 0:
        return f"its process was killed by signal {-code}"
    return f"exited its process with code {code}"


def _salvage(records: Sequence[Record], where: Path) -> None:
    """Put what was measured before the end into the records."""
    if not where.is_file():
        return
    for line in where.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # the last line may be half written
            lane, point = json.loads(line)
            records[lane].curve.append(point)
    for record in records:
        if record.curve:
            last = record.curve[-1]
            record.passes, record.seconds = last["passes"], last["seconds"]
            record.forward, record.backward = int(last["forward"]), int(last["backward"])


# In the worker


class _Tail(io.TextIOBase):
    """A text stream that keeps the end of what is printed, however much that is."""

    def __init__(self) -> None:
        self._parts: collections.deque[str] = collections.deque(maxlen=64)

    def write(self, text: str) -> int:
        self._parts.append(text[-_TAIL:])
        return len(text)

    def text(self) -> str:
        return "".join(self._parts).strip()[-_TAIL:]


_catalog: Catalog
_memory: int  # bytes this worker may hold
_objective: Objective | None = None


def _prepare(files: tuple[str, ...], parent: int, memory: int, threads: int) -> None:
    """Once a worker: its threads, its catalog, its silence and its watchdog."""
    global _catalog, _memory
    _memory = memory
    torch.set_num_threads(threads)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115  # for as long as the worker lives
    _catalog = Catalog(files)
    threading.Thread(target=_watch, args=(parent, memory), daemon=True).start()


def _watch(parent: int, memory: int) -> None:
    """End this process when its trial takes too much memory or is deaf to Stop, or when the run itself is gone."""
    process = psutil.Process()
    while True:
        if process.memory_info().rss > memory:
            os._exit(_EXIT_MEMORY)
        if _objective is not None and _objective.spent.refused > _REFUSED_MOST:
            os._exit(_EXIT_DEAF)
        if not psutil.pid_exists(parent):
            os._exit(_EXIT_ORPHAN)
        time.sleep(0.1)


def _work(trials: list[Trial], where: str, alone: bool) -> tuple[list[Record], float]:
    """Run one group, each measured point written to `where` at once; the records and the seconds it all took."""
    global _objective
    began = time.monotonic()

    def begin(f: Objective) -> None:
        global _objective
        _objective = f

    printed = _Tail()
    with open(where, "w", encoding="utf-8") as spool:

        def keep(shift: int, lane: int, point: Point) -> None:
            spool.write(json.dumps([shift + lane, point]) + "\n")
            spool.flush()

        sys.stdout = sys.stderr = printed
        records: list[Record] = []
        for part in parts(trials, _catalog, _memory):
            shift = len(records)
            records += run_group(part, _catalog, partial(keep, shift), on_start=begin, alone=alone)
    _objective = None  # its memory is free again
    for record in records:
        if record.status == "failed" and printed.text():
            record.error = f"{record.error}; its output ended: {' '.join(printed.text().split())}"
    return records, time.monotonic() - began
