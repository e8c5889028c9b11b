"""A result folder that is written to: append, drop, replace. One writer at a time; what was measured stays."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, REJECTED, stored_lines
from optbench.records.schema import RECORDS, Record

_MIN_FREE_BYTES = 32 * 2**20  # that the disk must have before a run begins
_LEFTOVERS = (
    ".lock",
    ".probe",
    ".spool",
    ".report.lock",
)  # of a run that was killed at its very start


_REPORT = {"report.html", "report.md", "report.json", "junit.xml", "figures", "tables"}  # and what a report leaves
MAX_SHOWN_PATH = 200  # characters


class FullError(RequestError):
    """The disk took no more. What was written before is complete."""


class Store:
    """The folder of one run, locked while this is open. Raises RequestError for a folder that cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected = 0  # lines set aside: no records, or of a key that has one
        self.records: dict[str, Record] = {}
        self._stored: dict[str, bytes] = {}  # the line of each, as it stands in the file
        self._size = 0  # bytes of the file
        _claim(folder)
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> Store:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RequestError(f"{self.folder} is in use by another run; wait for it or choose another --out") from None
        try:
            self._tidy()
            self._read()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def append(self, record: Record) -> None:
        """Add one record; it is on the disk when this returns. Raises FullError."""
        line = record.line().encode()
        with contextlib.suppress(FileNotFoundError):
            if (self.folder / RECORDS).stat().st_size != self._size:
                self.settle()
        self.records[record.key], self._stored[record.key] = record, line
        _append(self.folder / RECORDS, [line])
        self._size += len(line) + 1

    def forget(self, keys: Iterable[str]) -> None:
        """Drop the records of these keys; their trials are about to run again."""
        dropped = set(keys) & set(self.records)
        for key in dropped:
            del self.records[key], self._stored[key]
        if dropped:
            self._rewrite()

    def write(self, name: str, text: str) -> None:
        """Replace a file of the folder in one go."""
        _replace(self.folder / name, text.encode("utf-8", "replace"))

    def settle(self) -> None:
        """Set aside what somebody else has written into the file meanwhile, and put back what they took away.

        Code of others runs as the user and can write into the folder. What the run itself wrote is what counts.
        """
        content = b""
        with contextlib.suppress(FileNotFoundError):
            content = (self.folder / RECORDS).read_bytes()
        known = {b"", *self._stored.values()}
        foreign = [line for line in content.split(b"\n") if line not in known]
        if foreign:
            self.rejected += len(foreign)
            _append(self.folder / REJECTED, foreign)
        self._rewrite()

    def _tidy(self) -> None:
        """Remove what a run that was killed left half done: the folder is ours alone now."""
        shutil.rmtree(self.folder / ".spool", ignore_errors=True)
        for half in self.folder.glob("*.new"):
            if half.is_file():
                half.unlink(missing_ok=True)

    def _read(self) -> None:
        """Take over what is stored: the first record of every key; whatever else there is goes aside as it is."""
        aside: list[bytes] = []
        with contextlib.suppress(FileNotFoundError):
            for line in stored_lines(self.folder):
                if line.record is None or line.record.key in self.records:
                    aside.append(line.text)
                else:
                    self.records[line.record.key], self._stored[line.record.key] = line.record, line.text
        self.rejected = len(aside)
        if aside:
            _append(self.folder / REJECTED, aside)
        self._rewrite()

    def _rewrite(self) -> None:
        """Make the file hold just the records that count, each line as it was stored."""
        stored = b"".join(line + b"\n" for line in self._stored.values())
        path = self.folder / RECORDS
        if not path.exists() or path.read_bytes() != stored:
            _replace(path, stored)
        self._size = len(stored)


def _claim(folder: Path) -> None:
    """See that the folder is ours, or can be, before any work."""
    try:
        _see_that_it_is_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        try:
            probe.write_text("x")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(f"cannot write to {_short(folder)}: {error.strerror}") from None
    free = shutil.disk_usage(folder).free
    if free < _MIN_FREE_BYTES:
        raise RequestError(
            f"{folder} is on a disk with {free // 2**20} MiB free, a run needs {_MIN_FREE_BYTES // 2**20}"
        )


def _see_that_it_is_ours(folder: Path) -> None:
    """Raises RequestError for a file or a folder of something else, OSError where that cannot be seen."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, --out takes a folder")
    found = {path.name for path in folder.iterdir()} if folder.is_dir() and os.access(folder, os.R_OK) else set()
    others = {name for name in found if name not in _LEFTOVERS and not name.endswith(".new")}
    if others <= _REPORT and others & {"report.html", "report.json", "report.md"}:
        return  # a folder that was removed while its report was being written
    if others and not found & {RECORDS, f"{RECORDS}.xz", ENVIRONMENT}:
        raise RequestError(f"{folder} holds other files and no optbench results; choose another --out")


def _short(folder: Path) -> str:
    text = str(folder)
    return text if len(text) <= MAX_SHOWN_PATH else text[:MAX_SHOWN_PATH] + "..."


def _append(path: Path, lines: Sequence[bytes]) -> None:
    try:
        with path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some space and run the same command") from None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FullError(f"cannot write to {path}: {error.strerror}; free some space and run the same command") from None
