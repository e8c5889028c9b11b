"""A result folder packed for keeping: its records at a tenth of their size, without the plan that they carry out.

Numbers of curves are rounded to the digits that single precision has, seconds to four digits. Whatever reads result
folders reads packed ones as they are.
"""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.records.files import ENVIRONMENT, SUITE, read_environment, stored_lines
from optbench.records.schema import RECORDS, Record

PACKED = f"{RECORDS}.xz"
DIGITS, SECONDS_DIGITS = 8, 4
# the folders of an absolute path, as it stands in a command: not those of a relative one, nor of an address of the web
_FOLDERS = re.compile(r"(?<![\w.:/\\-])(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\]+[/\\])*")


def complete(folder: Path) -> tuple[list[Record], dict[str, Any]]:
    """The records of a folder in which every planned trial has one, and its environment without the plan.

    In the command an absolute path is its last name: the folders above it are of one machine alone.
    Raises RequestError for a folder without records, with lines that are none, or with trials that are still to run.
    """
    records: dict[str, Record] = {}
    try:
        for line in stored_lines(folder):
            if line.record is None:
                raise RequestError(f"{folder}: line {line.number} of its records is no record: {line.reason}")
            records.setdefault(line.record.key, line.record)
    except FileNotFoundError:
        pass
    if not records:
        raise RequestError(f"{folder} holds no records; `python -m optbench run --out {folder}` makes some")
    facts = read_environment(folder)
    if not facts:
        raise RequestError(f"{folder} has no {ENVIRONMENT}, so its problems, versions and machine are not known")
    planned = {trial["key"] for trial in facts.pop("plan", [])}
    if missing := planned - records.keys():
        raise RequestError(f"{folder} is not complete: {len(missing)} of {len(planned)} planned trials have no record")
    if isinstance(facts.get("command"), str):
        facts["command"] = _FOLDERS.sub("", facts["command"])
    return [*records.values()], facts


def pack(folder: Path, out: Path) -> tuple[list[Record], dict[str, Any]]:
    """Write the packed records, the environment and the suite of a complete folder into `out`; return the first two.

    Raises RequestError as `complete` does.
    """
    records, facts = complete(folder)
    write_packed(records, facts, folder / SUITE, out)
    return records, facts


def write_packed(records: Sequence[Record], facts: Mapping[str, Any], suite: Path, out: Path) -> None:
    """Write what `complete` returned into `out`, with the suite file if there is one. Numbers are rounded in place."""
    out.mkdir(parents=True, exist_ok=True)
    with lzma.open(out / PACKED, "wb", preset=9) as file:
        file.writelines(f"{_rounded(record).line()}\n".encode() for record in records)
    (out / ENVIRONMENT).write_bytes(f"{json.dumps(facts, indent=1)}\n".encode())
    if suite.is_file() and suite.resolve() != (out / SUITE).resolve():
        (out / SUITE).write_bytes(suite.read_bytes())


def _rounded(record: Record) -> Record:
    record.curve = [
        {name: float(f"{value:.{SECONDS_DIGITS if name == 'seconds' else DIGITS}g}") for name, value in point.items()}
        for point in record.curve
    ]
    return record
