"""Processes that other people's code has started: they end with the process that started them.

Nobody finds them once that one is gone. So they are looked for before it ends, by itself or by whoever ends it.
"""

from __future__ import annotations

import contextlib
import os
from typing import NoReturn

import psutil


def leave(code: int) -> NoReturn:
    """End this process with an exit code, and before that all that were started from it."""
    try:
        _kill(psutil.Process().children(recursive=True))
    finally:  # without memory or descriptors nobody can be looked for
        os._exit(code)


def kill(process: psutil.Process) -> None:
    """Kill a process and all that were started from it; nothing where it is gone."""
    with contextlib.suppress(psutil.Error):
        left = process.children(recursive=True)
        process.kill()
        _kill(left)


def _kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with contextlib.suppress(psutil.Error):
            one.kill()
