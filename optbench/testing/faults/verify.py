"""What must hold after a fault. Every function returns the failures it finds, one sentence each; none is well."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RECORDS = "records.jsonl"
CLOCKS = {"seconds", "warmup_seconds", "wall_seconds", "own_seconds"}
CLOCKS |= {"samples_per_second", "peak_bytes", "utilisation", "joules"}
TELLING = ("error", "status")  # the fields that say why a record is another one
FOLDER = {RECORDS, "environment.json", "suite.toml", "report.html", "report.md", "report.json", "tables"}
MAY_STAY = {".lock", ".report.lock", "rejected.jsonl"}
TRACEBACK = "Traceback (most recent call last)"
MAX_TEXT = 160  # characters of a value that a sentence quotes

Records = Mapping[str, Mapping[str, Any]]  # {key: record}


def whole_lines(folder: Path) -> list[bytes]:
    """The lines of records.jsonl that end with a newline; a last one that is half written is left out."""
    try:
        return (folder / RECORDS).read_bytes().split(b"\n")[:-1]
    except OSError:
        return []


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """{key: record} of a folder that is known to be well."""
    return {record["key"]: record for record in map(json.loads, whole_lines(folder))}


def differences(
    expected: Mapping[str, Any], found: Mapping[str, Any], ignored: Collection[str] = frozenset()
) -> list[str]:
    """The deterministic fields in which two records of one trial differ; clocks and memory never count."""
    names = (expected.keys() | found.keys()) - CLOCKS - {"curve"} - set(ignored)
    wrong = [
        f"{name} was {_short(expected.get(name))}, is {_short(found.get(name))}"
        for name in sorted(names, key=lambda name: (name not in TELLING, name))
        if not _same(expected.get(name), found.get(name))
    ]
    one, two = expected.get("curve"), found.get("curve")
    if not isinstance(one, list) or not isinstance(two, list) or len(one) != len(two):
        return [*wrong, f"the curve was {_short(one)}, is {_short(two)}"]
    for place, (left, right) in enumerate(zip(one, two, strict=True)):
        for name in sorted((left.keys() | right.keys()) - CLOCKS):
            if not _same(left.get(name), right.get(name)):
                wrong.append(f"curve[{place}].{name} was {_short(left.get(name))}, is {_short(right.get(name))}")
    return wrong


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float) and math.isnan(one) and math.isnan(two):
        return True
    return bool(type(one) is type(two) and one == two)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def check_records(
    lines: Sequence[bytes],
    references: Mapping[int, Records],
    before: Iterable[bytes] = (),
    others_allowed: bool = False,
) -> list[str]:
    """Each planned trial has one record, equal to the reference; each line of `before` is still there.

    references: {lanes: {key: record}} of undisturbed runs; a trial that a resumed run trains in a narrower group than
    planned is compared with the run of that width. others_allowed: records that nobody planned may be there.
    """
    wrong: list[str] = []
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        record = parse(line)
        if record is None:
            wrong.append(f"line {number} is no record: {line[:60]!r}")
        else:
            found.append(record)
    planned = next(iter(references.values()))
    counts = Counter(record["key"] for record in found)
    missing = [key for key in planned if key not in counts]
    if missing:
        wrong.append(
            f"{len(missing)} of {len(planned)} planned trials have no record, {_name(planned[missing[0]])} first"
        )
    wrong += [f"{_name(planned[key])} has {n} records" for key, n in counts.items() if n > 1 and key in planned]
    if not others_allowed and (unplanned := [key for key in counts if key not in planned]):
        wrong.append(f"{len(unplanned)} records belong to no planned trial, {unplanned[0]} first")
    changed = []
    for record in found:
        if record["key"] in planned:
            expected = references.get(record.get("lanes", 1), planned)[record["key"]]
            if different := differences(expected, record):
                changed.append(f"{_name(expected)}: {', '.join(different[:2])}")
    if changed:
        wrong.append(f"{len(changed)} records are not those of an undisturbed run: {changed[0]}")
    there = set(lines)
    if gone := [line for line in before if line not in there]:
        wrong.append(f"{len(gone)} records that were there before changed or went, {gone[0][:40]!r} first")
    return wrong


def parse(line: bytes) -> dict[str, Any] | None:
    """The record of a stored line, None where it is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None


def _name(record: Mapping[str, Any]) -> str:
    return f"{record.get('problem')} x {record.get('optimizer')}, seed {record.get('seed')}"


def check_folder(folder: Path) -> list[str]:
    """The folder of a run that has ended well: the files that a run promises, whole, and nothing else."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    wrong = [f"{name} is missing" for name in sorted(FOLDER - names)]
    wrong += [f"{name} was left behind" for name in sorted(names - FOLDER - MAY_STAY)]
    html = folder / "report.html"
    if html.is_file() and not html.read_bytes().rstrip().endswith(b"</html>"):
        wrong.append("report.html is cut off")
    return wrong


def check_ending(code: int | None, allowed: Collection[int], printed: str) -> list[str]:
    """The exit code is one of those that are documented, and nothing that was printed is a traceback."""
    wrong = []
    if code is None:
        wrong.append("it did not end in time")
    elif code not in allowed:
        wrong.append(f"exit code {code}, expected {' or '.join(map(str, sorted(allowed)))}")
    if TRACEBACK in printed:
        lines = [line for line in printed.splitlines() if line.strip()]
        wrong.append(f"a traceback: {lines[-1][:MAX_TEXT]}")
    return wrong


def check_leftovers(names: Sequence[str]) -> list[str]:
    """No process of a run outlives it."""
    return [f"{len(names)} processes left over: {', '.join(names)}"] if names else []
