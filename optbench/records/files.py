"""The files of a result folder, and the one way to read them: records line by line, and the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from optbench.core.trial import RequestError
from optbench.records.environment import wrong_part
from optbench.records.schema import RECORDS, Record, RecordError, clean, lines, read_line

ENVIRONMENT, SUITE, REJECTED = "environment.json", "suite.toml", "rejected.jsonl"


class BrokenEnvironmentError(RequestError):
    """environment.json is there and cannot be read; the text says why."""


class Line(NamedTuple):
    """One stored line: its number from 1, its bytes, and the record it holds or the reason that it holds none."""

    number: int
    text: bytes  # as stored, without the newline
    record: Record | None
    reason: str = ""


def stored_lines(folder: Path, only: Callable[[Iterator[bytes]], Iterator[bytes]] | None = None) -> Iterator[Line]:
    """Every stored line of a folder that is not blank, in order. The folder may be in use and need not be complete.

    only: passes on those lines that are wanted, before they are parsed; all are where it is left out.
    Raises FileNotFoundError where no records were stored, RequestError where a packed file is damaged.
    """
    found = lines(folder)
    for number, text in enumerate(only(found) if only else found, 1):
        if not text.strip():
            continue
        try:
            yield Line(number, text.rstrip(b"\r\n"), read_line(text))
        except (RecordError, TypeError) as error:
            yield Line(number, text.rstrip(b"\r\n"), None, str(error))


def read_records(folder: Path) -> tuple[list[Record], list[bytes]]:
    """(records in the order of the file, lines that are no records); two empty lists where nothing was stored."""
    records: list[Record] = []
    rejected: list[bytes] = []
    try:
        for line in stored_lines(folder):
            if line.record is None:
                rejected.append(line.text)
            else:
                records.append(line.record)
    except FileNotFoundError:
        pass
    return records, rejected


def read_environment(folder: Path) -> dict[str, Any]:
    """What environment.json says; {} where there is none. Raises BrokenEnvironmentError where it cannot be read."""
    path = folder / ENVIRONMENT
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
        if "\\ud" in text.lower():  # perhaps half a character: of a file's name that is no text, in the command
            found = _cleaned(found)
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise BrokenEnvironmentError(f"{path} is not JSON: {str(error)[:80]}") from None
    except OSError as error:
        raise BrokenEnvironmentError(f"{path} cannot be read: {error.strerror}") from None
    if wrong := wrong_part(found):
        raise BrokenEnvironmentError(f"{path}: {wrong}")
    checked: dict[str, Any] = found
    return checked


def _cleaned(value: Any) -> Any:
    """The same with text that any file takes."""
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return clean(value) if isinstance(value, str) else value


def has_results(folder: Path) -> bool:
    """Whether the folder holds any file that a run leaves."""
    return any((folder / name).exists() for name in (RECORDS, f"{RECORDS}.xz", ENVIRONMENT, SUITE))
