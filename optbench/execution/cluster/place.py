"""What `--cluster` names: a scheduler's address, the file that a scheduler writes, or workers on this machine."""

from __future__ import annotations

import difflib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from optbench.core.trial import RequestError

_ADDRESS = re.compile(r"(?:\w+://)?(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}/?")
_LOCAL = re.compile(r"local(?::(\d+))?")
EXAMPLES = "give tcp://HOST:8786, the file of `dask scheduler --scheduler-file FILE`, or local:N"


class Place(Protocol):
    """Where a scheduler is."""

    def address(self, seconds: float) -> str:
        """Its address, waited for so long. Raises TimeoutError with one line, RequestError where it can never be."""


@dataclass(frozen=True)
class Address:
    """An address that was given."""

    text: str

    def address(self, seconds: float) -> str:
        return self.text


@dataclass(frozen=True)
class SchedulerFile:
    """A file that names the address, as batch systems use; it is read again whenever the scheduler is looked for."""

    path: Path

    def address(self, seconds: float) -> str:
        until = time.monotonic() + seconds
        while True:
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))["address"]
                if isinstance(found, str):
                    return found
                why = f"{self.path} is not the file of a scheduler"
            except FileNotFoundError:
                why = f"there is no file {self.path}"
            except (OSError, ValueError, KeyError, TypeError):  # half written, or no scheduler's file
                why = f"{self.path} is not the file of a scheduler"
            if time.monotonic() >= until:
                raise TimeoutError(f"{why}; {EXAMPLES}")
            time.sleep(0.2)


@dataclass(frozen=True)
class Local:
    """Workers on this machine. count: None for one a GPU, or one a core where no GPU is asked for."""

    count: int | None


def place_of(text: str) -> Address | SchedulerFile | Local:
    """What a text names. Raises RequestError for one that names nothing."""
    given = text.strip()
    if found := _LOCAL.fullmatch(given):
        count = int(found[1]) if found[1] else None
        if count == 0:
            raise RequestError("--cluster local:0 has no worker; local:2 has two")
        return Local(count)
    if _ADDRESS.fullmatch(given):
        head, _, port = given.rstrip("/").rpartition(":")
        if difflib.SequenceMatcher(None, head, "local").ratio() >= 0.8:
            raise RequestError(f"--cluster {text}: did you mean 'local:{port}'?")
        if int(port) > 65535:
            raise RequestError(f"--cluster {text}: no port is {port}; a scheduler's is 8786 unless it was told another")
        return Address(given if "://" in given else f"tcp://{given}")
    if not given or "://" in given:
        raise RequestError(f"--cluster {text!r} is no address; {EXAMPLES}")
    if given.startswith("local"):
        raise RequestError(f"--cluster {text}: write local:N with a number of workers, such as local:2")
    if Path(given).is_dir():
        raise RequestError(f"--cluster {text} is a folder; {EXAMPLES}")
    return SchedulerFile(Path(given))
