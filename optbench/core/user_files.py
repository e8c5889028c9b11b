"""Files of a user that data are read from: whether one has changed, and what they hold as one number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

Stamp = tuple[str, int, int]  # path, bytes, nanoseconds of the last change


def stamps(files: Sequence[Path]) -> tuple[Stamp, ...]:
    """What tells whether a file has changed, without reading it; files that are not there are left out."""
    found = []
    for file in files:
        try:
            about = file.stat()
        except OSError:
            continue
        found.append((str(file), about.st_size, about.st_mtime_ns))
    return tuple(found)


def checksum(files: Sequence[Path]) -> str:
    """SHA-256 of what the files hold, in their order; each is read once a process, and again when it has changed."""
    return hashlib.sha256("".join(_checksum(stamp) for stamp in stamps(files)).encode()).hexdigest()


@lru_cache(maxsize=65536)
def _checksum(stamp: Stamp) -> str:
    with open(stamp[0], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
