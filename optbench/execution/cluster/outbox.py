"""Answers that wait on a worker's machine until the coordinator has written their records. Standard library only.

They outlive the coordinator, the scheduler and the worker: whoever goes on with the same run finds them here.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAX_AGE_SECONDS = 7 * 24 * 3600.0  # of a run's folder that nobody has asked for


def run_folder(run: str) -> Path:
    """Where a run keeps its files on this machine. Raises OSError where it is somebody else's."""
    top = Path(tempfile.gettempdir()) / f"optbench-{getpass.getuser()}"
    top.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and top.stat().st_uid != os.getuid():
        raise PermissionError(1, f"{top} is another user's")
    folder = top / run
    folder.mkdir(mode=0o700, exist_ok=True)
    os.utime(folder)
    return folder


def remove_old(run: str) -> None:
    """Remove what runs other than this one have left behind long ago."""
    with contextlib.suppress(OSError):
        for folder in run_folder(run).parent.iterdir():
            if folder.name != run and time.time() - folder.stat().st_mtime > MAX_AGE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class Outbox:
    """The answers of one run on one machine; its workers there share it. An answer is plain data with an `id`."""

    def __init__(self, run: str) -> None:
        self._folder = run_folder(run) / "outbox"
        self._folder.mkdir(exist_ok=True)

    def put(self, answer: dict[str, Any]) -> None:
        """Keep an answer; it is whole or not there. Raises OSError."""
        path = self._path(answer["id"])
        half = path.with_suffix(f".{os.getpid()}.new")
        half.write_bytes(zlib.compress(json.dumps(answer).encode(), 1))
        half.replace(path)

    def get(self, name: str) -> dict[str, Any] | None:
        """The answer of this id, if it is here and whole."""
        return _read(self._path(name))

    def all(self) -> list[dict[str, Any]]:
        """Every answer that is here and whole."""
        return [answer for path in sorted(self._folder.glob("*.answer")) if (answer := _read(path))]

    def forget(self, names: Iterable[str]) -> None:
        """Remove answers whose records are written."""
        for name in names:
            with contextlib.suppress(OSError):
                self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.answer"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(zlib.decompress(path.read_bytes()))
    except (OSError, ValueError, zlib.error):
        return None
    return found if isinstance(found, dict) and found.get("id") == path.stem else None
