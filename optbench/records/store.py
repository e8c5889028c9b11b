"""A result folder that is written to: append, drop, replace. One writer at a time; what was measured stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, REJECTED, read_records
from optbench.records.schema import RECORDS, Record

_MIN_FREE_BYTES = 32 * 2**20  # that the disk must have before a run begins
_LEFTOVERS = (".lock", ".probe", ".spool")  # what a run that was killed at its very start may leave behind


class FullError(RequestError):
    """The disk took no more. What was written before is complete."""


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
            records, rejected = read_records(self.folder)
            self.rejected = len(rejected)
            if rejected:
                _append(self.folder / REJECTED, rejected)
            self._rewrite(records)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def append(self, record: Record) -> None:
        """Add one record; it is on the disk when this returns. Raises FullError."""
        self.records[record.key] = record
        _append(self.folder / RECORDS, [record.line()])

    def forget(self, keys: Iterable[str]) -> None:
        """Drop the records of these keys; their trials are about to run again."""
        dropped = set(keys) & set(self.records)
        if dropped:
            self._rewrite([record for key, record in self.records.items() if key not in dropped])

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


def _claim(folder: Path) -> None:
    """See that the folder is ours, or can be, before any work."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, --out takes a folder")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() and os.access(folder, os.R_OK) else set()
    others = {name for name in found if name not in _LEFTOVERS and not name.endswith(".new")}
    if others and not found & {RECORDS, f"{RECORDS}.xz", ENVIRONMENT}:
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
    if free < _MIN_FREE_BYTES:
        raise RequestError(
            f"{folder} is on a disk with {free // 2**20} MiB free, a run needs {_MIN_FREE_BYTES // 2**20}"
        )


def _append(path: Path, lines: Sequence[str]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some space and run the same command") from None


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some space and run the same command") from None
