"""A results folder: append, read, resume, merge. One writer at a time; nothing that was measured is ever lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from optbench.core.trial import RequestError
from optbench.records.schema import RECORDS, Record, RecordError, lines, read_line

REJECTED, ENVIRONMENT, SUITE = "rejected.jsonl", "environment.json", "suite.toml"
_ROOM = 32 * 2**20  # bytes that must be free before a run begins
_LEFTOVERS = (".lock", ".probe", ".spool")  # what a run that was killed at its very start may have left


class FullError(RequestError):
    """The disk took no more; what was written before is whole."""


class Store:
    """The folder of one run, locked while this is open. Raises RequestError for a folder that cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected = 0  # lines set aside because they are no records
        self.records: dict[str, Record] = {}
        _claim(folder)
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> Store:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RequestError(f"{self.folder} is in use by another run; wait for it or choose another --out") from None
        try:
            records, wrong = read(self.folder)
            self.rejected = len(wrong)
            if wrong:
                _append(self.folder / REJECTED, wrong)
            self._rewrite(records)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def append(self, record: Record) -> None:
        """Add one record and see it on the disk before returning. Raises FullError."""
        self.records[record.key] = record
        _append(self.folder / RECORDS, [record.line()])

    def forget(self, keys: Iterable[str]) -> None:
        """Drop records that are about to be measured anew."""
        gone = set(keys) & set(self.records)
        if gone:
            self._rewrite([record for key, record in self.records.items() if key not in gone])

    def write(self, name: str, text: str) -> None:
        """Replace a file of the folder in one go."""
        _replace(self.folder / name, text)

    def _rewrite(self, records: Sequence[Record]) -> None:
        """Make the file hold just these records, each key once, the later one of a pair."""
        self.records = {record.key: record for record in records}
        text = "".join(record.line() + "\n" for record in self.records.values())
        path = self.folder / RECORDS
        if not path.exists() or path.read_bytes() != text.encode():
            _replace(path, text)


def read(folder: Path) -> tuple[list[Record], list[str]]:
    """(records, lines that are none) of a folder, which need not be complete or quiet."""
    records, wrong = [], []
    with contextlib.suppress(FileNotFoundError):
        for line in lines(folder):
            try:
                records.append(read_line(line))
            except (RecordError, TypeError):
                if line.strip():
                    wrong.append(line.rstrip("\n"))
    return records, wrong


def environment(folder: Path) -> dict[str, Any]:
    """What environment.json says, or nothing where there is none. Raises RequestError where it is broken."""
    path = folder / ENVIRONMENT
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is not JSON: {error}") from None
    return found


def merge(folders: Sequence[Path], out: Path, mixed: bool = False) -> int:
    """Join the records of several folders into a new one; the number of records. Raises RequestError.

    A trial that several folders hold is taken from the first. Folders made by different versions of optbench or torch
    are refused unless `mixed`.
    """
    seen: dict[str, Record] = {}
    worlds = []
    for folder in folders:
        records, wrong = read(folder)
        if not records:
            raise RequestError(f"{folder} holds no records")
        if wrong:
            raise RequestError(f"{folder / RECORDS} has {len(wrong)} lines that are no records; run it again first")
        for record in records:
            seen.setdefault(record.key, record)
        worlds.append(environment(folder))
    builds = [(world.get("optbench"), world.get("versions", {}).get("torch")) for world in worlds]
    if len(set(builds)) > 1 and not mixed:
        text = ", ".join(f"{folder}: optbench {a}, torch {b}" for folder, (a, b) in zip(folders, builds, strict=True))
        raise RequestError(f"the folders were made by different versions ({text}); --mixed joins them all the same")
    joined = dict(worlds[0])
    for name in ("problems", "optimizers"):
        joined[name] = {key: value for world in reversed(worlds) for key, value in world.get(name, {}).items()}
    tuned = [world["tuning"] for world in reversed(worlds) if world.get("tuning")]
    if tuned:
        joined["tuning"] = {**tuned[-1], "competitors": {k: v for one in tuned for k, v in one["competitors"].items()}}
    plans = {trial["key"]: trial for world in worlds for trial in world.get("plan", [])}
    joined["plan"] = list(plans.values())
    joined["machines"] = [world.get("machine") for world in worlds]
    with Store(out) as store:
        if store.records:
            raise RequestError(f"{out} already holds records; merge into a new folder")
        store.write(ENVIRONMENT, json.dumps(joined, indent=1) + "\n")
        suites = [(folder / SUITE).read_text() for folder in folders if (folder / SUITE).is_file()]
        if suites:
            store.write(SUITE, suites[0])
        for record in seen.values():
            store.append(record)
    return len(seen)


def _claim(folder: Path) -> None:
    """See that the folder is ours, or can be, before any work."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, --out takes a folder")
    held = {path.name for path in folder.iterdir()} if folder.is_dir() and os.access(folder, os.R_OK) else set()
    foreign = {name for name in held if name not in _LEFTOVERS and not name.endswith(".new")}
    if foreign and not held & {RECORDS, f"{RECORDS}.xz", ENVIRONMENT}:
        raise RequestError(f"{folder} holds other files and no optbench results; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        try:
            probe.write_text("x")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write to {folder}: {error.strerror}") from None
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise RequestError(f"{folder} is on a disk with {free // 2**20} MiB free, a run needs {_ROOM // 2**20}")


def _append(path: Path, lines: Sequence[str]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some room and run the same command") from None


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some room and run the same command") from None
