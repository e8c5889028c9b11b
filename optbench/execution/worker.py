"""What runs inside a worker process: one lane group at a time, watched by a thread that can end the process."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from optbench.core.objective import Objective
from optbench.core.outcome import Outcome as TrialOutcome
from optbench.core.scoring import Point
from optbench.core.trial import MachineError
from optbench.execution.grouping import by_memory
from optbench.execution.held import held_bytes
from optbench.execution.host import HostCatalog, SharingError
from optbench.execution.lane_group import run_group
from optbench.execution.offspring import leave
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup, resolve
from optbench.execution.verification import Answers, Check, data_digest, verified
from optbench.records.schema import Record, clean, read_line
from optbench.registry.catalog import Catalog
from optbench.registry.process_state import ProcessState
from optbench.registry.specs import one_line

EXIT_MEMORY, EXIT_IGNORES_STOP, EXIT_ORPHAN = 85, 86, 87  # exit codes that tell the parent why a worker ended
MAX_CALLS_AFTER_STOP = 1_000  # of an optimizer that goes on after Stop
MAX_OUTPUT = 400  # characters of a failed trial's output that go into its record
MAX_TEXT = 2000  # characters of a reason that the run is told
ANSWER = ".answer"  # suffix of the file that holds the points which are scored again

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
    on_end: Callable[[TrialOutcome], None] | None = None,
) -> list[Record]:
    """The records of a group, run as one program or, where memory asks for it, as several one after another.

    on_point: called with (place of the trial in the group, curve point) as each point is measured. on_end: called with
    what came of each part.
    Raises torch.OutOfMemoryError where several lanes do not fit the device's memory.
    """
    records: list[Record] = []
    for part in by_memory(group.trials, catalog, options.memory_bytes):
        shifted = partial(_shifted, on_point, len(records))
        records += run_group(part, catalog, shifted, on_start, group.alone, options.eager, on_end)
    for record in records:
        how = ["isolated"] if group.stated else []
        if group.note:
            how += [group.note] if group.alone else [group.note, f"ran with {record.lanes}"]
        record.note = record.note or ", ".join(how) or None
    return records


def _shifted(on_point: Callable[[int, Point], None], by: int, lane: int, point: Point) -> None:
    on_point(by + lane, point)


class Begun(NamedTuple):
    """What a process that trains is told as it begins."""

    options: RunOptions
    files: tuple[str, ...]  # plugin files to import
    parent: int  # the process id of the run
    threads: int
    core: int | None = None  # the logical processor to stay on


def serve(connection: Connection, begun: Begun, guest: Connection | None = None) -> None:
    """A worker's whole life: told one lane group at a time until the run that started it is gone.

    connection: gives (group or check, file for points, file for records), takes one small JSON object a message.
    guest: the process of an isolated optimizer.
    """
    global _catalog, _options
    try:
        _options = begun.options
        prepare(begun)
        _catalog = Catalog(begun.files, moved=dict(begun.options.moved))
    except BaseException as error:
        _tell(connection, "error", text=one_line(error))
        leave(1)
    _tell(connection, "ready")
    while True:
        try:
            asked, points, records = connection.recv()
        except (EOFError, OSError):
            leave(0)
        run = _verify if isinstance(asked, Check) else _answer
        if guest is not None and isinstance(asked, LaneGroup):
            _catalog = HostCatalog(begun.files, asked, guest, Path(points).parent, begun.options.memory_bytes // 2)
        _tell(connection, **run(asked, Path(points), Path(records)))


def _tell(connection: Connection, kind: str, **values: Any) -> None:
    """Say something to the run; without it there is nothing left to do."""
    if "text" in values:
        values["text"] = clean(values["text"])[:MAX_TEXT]
    try:
        connection.send_bytes(json.dumps({"kind": kind, **values}).encode())
    except OSError:
        leave(EXIT_ORPHAN)


def prepare(begun: Begun) -> None:
    """Once a process: its processor, its threads, its silence and its watchdog."""
    if begun.core is not None:
        psutil.Process().cpu_affinity([begun.core])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends its workers itself
    torch.set_num_threads(begun.threads)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    sys.stdin = open(os.devnull)  # noqa: SIM115  # for as long as the worker lives
    threading.Thread(target=_watch, args=(begun.parent, begun.options.memory_bytes), daemon=True).start()


def _watch(parent: int, memory: int) -> None:
    """End this process when it holds too many bytes, when an optimizer ignores Stop, or when the run itself is gone."""
    while True:
        if held_bytes() > memory:
            leave(EXIT_MEMORY)
        if _objective is not None and _objective.spent.refused > MAX_CALLS_AFTER_STOP:
            leave(EXIT_IGNORES_STOP)
        if not psutil.pid_exists(parent):
            leave(EXIT_ORPHAN)
        time.sleep(0.1)


def _answer(group: LaneGroup, points: Path, records: Path) -> dict[str, Any]:
    """Run one group and say how it ended; its records are in the file `records` then."""
    global _objective
    before, data = _state(group), [_digest(group)]
    began = time.monotonic()
    answers = Answers() if group.is_checked else None
    try:
        found, full = work(group, points, answers)
        answer: dict[str, Any] = {"kind": "full" if full else "done"}
        records.write_text("".join(_line(record) + "\n" for record in found), encoding="utf-8")
        if answers:
            answers.write(records.with_suffix(ANSWER))
    except (MachineError, SharingError) as error:
        answer = {"kind": "machine", "text": str(error)}
    except OSError as error:
        answer = {"kind": "machine", "text": f"cannot write to {records}: {error.strerror}"}
    except BaseException as error:  # KeyboardInterrupt too: here it is the optimizer's own
        answer = {"kind": "failed", "text": one_line(error)}
    seconds = time.monotonic() - began
    _objective = None  # its memory is free again
    if answer["kind"] == "full":
        torch.cuda.empty_cache()
    data.append(_digest(group))
    changed = group.stated is not None or (before is not None and (bool(before.changes()) or data[0] != data[1]))
    return answer | {"seconds": seconds, "changed": changed, "data": data}


def _verify(check: Check, points: Path, records: Path) -> dict[str, Any]:
    """Score a group again, and write its records as they are then."""
    try:
        records.write_text("".join(record.line() + "\n" for record in verified(check, _catalog)), encoding="utf-8")
    except OSError as error:
        return {"kind": "machine", "text": f"cannot write to {records}: {error.strerror}"}
    except Exception as error:
        return {"kind": "failed", "text": one_line(error)}
    return {"kind": "done", "seconds": check.seconds}


def _digest(group: LaneGroup) -> str:
    """Of the data of a group that is scored again; what is wrong with the problem its trials will say."""
    if group.is_checked:
        with contextlib.suppress(Exception):
            trial = group.trials[0]
            return data_digest(_catalog.problem(trial.problem, trial.split), trial.device)
    return ""


def _state(group: LaneGroup) -> ProcessState | None:
    """The process before a group of other people's code, once that code is imported."""
    if not group.third_party or group.stated:
        return None
    with contextlib.suppress(Exception):  # what is wrong with it the group itself will say
        resolve(group.trials, _catalog)
    return ProcessState()


def _line(record: Record) -> str:
    """A record's line; what cannot be one, because an optimizer put its own things into it, has failed."""
    try:
        read_line(record.line())
    except Exception as error:
        record.status, record.error = "failed", f"left what is no record: {one_line(error)}"
        record.certificate, record.curve = None, []
    return record.line()


def work(group: LaneGroup, where: Path, answers: Answers | None = None) -> tuple[list[Record], bool]:
    """Run one group, each measured point written to the file `where` at once.

    answers: takes what the trials end at. Returns its records, and whether the device's memory could not hold it (no
    records then). Raises MachineError where the file takes no points.
    """
    printed = _Tail()
    failure: list[OSError] = []  # not raised where points are measured: the optimizer would be blamed for it
    with _machine(where), where.open("w", encoding="utf-8") as spool:

        def keep(place: int, point: Point) -> None:
            try:
                spool.write(json.dumps([place, point]) + "\n")
                spool.flush()
            except OSError as error:
                failure.append(error)

        sys.stdout = sys.stderr = printed
        try:
            records, full = (
                run_in_parts(group, _catalog, _options, keep, _begin, answers.add if answers else None),
                False,
            )
        except torch.OutOfMemoryError:
            records, full = [], True
        except OSError as error:  # not the spool's: of a problem's data, for instance
            raise RuntimeError(one_line(error)) from None
        if failure:
            raise failure[0]
    add_output(records, printed.text())
    return records, full


@contextlib.contextmanager
def _machine(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MachineError(f"cannot write to {where}: {error.strerror}") from None


def _begin(f: Objective) -> None:
    global _objective
    _objective = f


def add_output(records: Sequence[Record], output: str) -> None:
    """Put the end of what was printed into the reason of failed trials."""
    for record in records:
        if record.status == "failed" and output:
            record.error = f"{record.error}; its output ended: {output}"
