"""What runs inside a worker process: one lane group at a time, watched by a thread that can end the process."""

from __future__ import annotations

import collections
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psutil
import torch

from optbench.core.objective import Objective
from optbench.core.scoring import Point
from optbench.execution.grouping import by_memory
from optbench.execution.lane_group import run_group
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.specs import one_line

EXIT_MEMORY, EXIT_IGNORES_STOP, EXIT_ORPHAN = 85, 86, 87  # exit codes that tell the parent why a worker ended
MAX_CALLS_AFTER_STOP = 1_000  # of an optimizer that goes on after Stop
MAX_OUTPUT = 400  # characters of a failed trial's output that go into its record
START_ERROR = "worker_error"  # the file in the spool folder that says why a worker could not start

_catalog: Catalog
_options: RunOptions
_objective: Objective | None = None  # of the trial under way


class _Tail(io.TextIOBase):
    """A text stream that keeps the end of what is printed, however much that is."""

    def __init__(self) -> None:
        self._parts: collections.deque[str] = collections.deque(maxlen=64)

    def write(self, text: str) -> int:
        self._parts.append(text[-MAX_OUTPUT:])
        return len(text)

    def text(self) -> str:
        return " ".join("".join(self._parts).strip()[-MAX_OUTPUT:].split())


def run_in_parts(
    group: LaneGroup,
    catalog: Catalog,
    options: RunOptions,
    on_point: Callable[[int, Point], None],
    on_start: Callable[[Objective], None] | None = None,
) -> list[Record]:
    """The records of a group, run as one program or, where memory asks for it, as several one after another.

    on_point: called with (place of the trial in the group, curve point) as each point is measured.
    Raises torch.OutOfMemoryError where several lanes do not fit the device's memory.
    """
    records: list[Record] = []
    for part in by_memory(group.trials, catalog, options.memory_bytes):
        shifted = partial(_shifted, on_point, len(records))
        records += run_group(part, catalog, shifted, on_start, group.alone, options.eager)
    for record in records:
        if group.note:
            record.note = record.note or f"{group.note}, ran with {record.lanes}"
    return records


def _shifted(on_point: Callable[[int, Point], None], by: int, lane: int, point: Point) -> None:
    on_point(by + lane, point)


def prepare(options: RunOptions, parent: int, threads: int, spool: str) -> None:
    """Once a worker: its threads, its catalog, its silence and its watchdog. parent: the process id of the run."""
    global _catalog, _options
    try:
        _options = options
        torch.set_num_threads(threads)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        sys.stdin = open(os.devnull)  # noqa: SIM115  # for as long as the worker lives
        _catalog = Catalog(options.plugins)
        threading.Thread(target=_watch, args=(parent, options.memory_bytes), daemon=True).start()
    except BaseException as error:
        Path(spool, START_ERROR).write_text(one_line(error), encoding="utf-8")
        raise


def _watch(parent: int, memory: int) -> None:
    """End this process when it holds too many bytes, when an optimizer ignores Stop, or when the run itself is gone."""
    process = psutil.Process()
    while True:
        if process.memory_info().rss > memory:
            os._exit(EXIT_MEMORY)
        if _objective is not None and _objective.spent.refused > MAX_CALLS_AFTER_STOP:
            os._exit(EXIT_IGNORES_STOP)
        if not psutil.pid_exists(parent):
            os._exit(EXIT_ORPHAN)
        time.sleep(0.1)


def work(group: LaneGroup, where: str) -> tuple[list[Record], float, bool]:
    """Run one group, each measured point written to the file `where` at once.

    Returns its records, the seconds that it took, and whether the device's memory could not hold it (no records then).
    """
    global _objective
    began = time.monotonic()
    printed = _Tail()
    with open(where, "w", encoding="utf-8") as spool:

        def keep(place: int, point: Point) -> None:
            spool.write(json.dumps([place, point]) + "\n")
            spool.flush()

        sys.stdout = sys.stderr = printed
        try:
            records = run_in_parts(group, _catalog, _options, keep, _begin)
            full = False
        except torch.OutOfMemoryError:
            records, full = [], True
    _objective = None  # its memory is free again
    if full:
        torch.cuda.empty_cache()
    add_output(records, printed.text())
    return records, time.monotonic() - began, full


def _begin(f: Objective) -> None:
    global _objective
    _objective = f


def add_output(records: Sequence[Record], output: str) -> None:
    """Put the end of what was printed into the reason of failed trials."""
    for record in records:
        if record.status == "failed" and output:
            record.error = f"{record.error}; its output ended: {output}"
