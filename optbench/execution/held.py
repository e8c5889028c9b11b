"""How much memory this process holds, as the limit of a worker counts it."""

from __future__ import annotations

import contextlib
import re

import psutil

_FILES = re.compile(rb"^RssFile:\s+(\d+) kB", re.MULTILINE)


def held_bytes() -> int:
    """Bytes in memory, without pages of files that are mapped, where the system tells: it drops those when it must.

    Data of somebody's own are mapped from one file by all workers, and would count once in each.
    """
    held = int(psutil.Process().memory_info().rss)
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as status:
        if found := _FILES.search(status.read()):
            return held - 1024 * int(found[1])
    return held
