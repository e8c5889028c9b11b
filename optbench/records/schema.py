"""The record that one trial leaves, as one line of strict JSON. Standard library only."""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from optbench.core.trial import STATUSES, RequestError, spec

VERSION = 1  # of the record; a reader refuses another one by name
OWN_CORE = "timed on a core of its own"  # how the note of a trial begins that ran so for its clock
RECORDS = "records.jsonl"  # a line a trial; with .xz behind it where a folder was packed for keeping


class RecordError(ValueError):
    """A stored line that is not a record of this version."""


@dataclass
class Record:
    """What one trial left. Every planned trial has exactly one, whatever happened to it.

    Counts are per trial, also when it ran as one lane of many. `seconds` is the optimizer's own clock: evaluation,
    logging and warm-up excluded. A number that is not finite is stored as null and read back as NaN.
    """

    key: str
    problem: str
    optimizer: str
    hyper: dict[str, Any]
    seed: int
    budget: float  # passes granted
    device: str
    status: str  # one of STATUSES
    error: str | None = None  # the reason in one line, for whatever is not "spent" or "finished"
    lanes: int = 1  # how many trials shared the program
    alone: bool = False  # True: the only work on the machine, so its seconds may be compared
    forward: int = 0  # samples sent forward
    backward: int = 0  # samples sent backward
    evaluations: int = 0  # points (candidates) whose loss was asked for
    nonfinite: int = 0  # evaluations that gave NaN or infinity
    flops: int = 0
    passes: float = 0.0
    own_flops: int | None = None  # what the optimizer computed by itself; null where nobody counted it
    seconds: float = 0.0
    own_seconds: float | None = None  # of `seconds`, those between the calls of the oracle; of the whole group
    state_bytes: int | None = None  # that the optimizer held in tensors of its own; null where they are not torch's
    warmup_seconds: float = 0.0  # first calls and compilation, outside `seconds`
    wall_seconds: float = 0.0  # its share of the time that a worker gave its group, with all scoring and setting up
    machine: str = ""  # that ran it, as environment.json names it; empty: the run's own
    peak_bytes: int | None = None  # memory above what the process held when the trial began
    samples_per_second: float | None = None
    utilisation: float | None = None  # of a GPU, 0 to 1, while the trial ran alone on it
    joules: float | None = None  # that the GPU took meanwhile
    note: str | None = None  # how it was run, where that is not as it was planned
    certificate: dict[str, Any] | None = None  # {lower, upper, scope, exact}
    fingerprint: str = ""  # of the source of its problem and optimizer, and of a user's data files
    split: int = 0  # which division of the problem's data; left out of the line where it is the stated one
    curve: list[dict[str, float]] = field(default_factory=list)
    version: int = VERSION

    @property
    def label(self) -> str:
        return spec(self.optimizer, self.hyper)

    def line(self) -> str:
        """One line of strict JSON, without the newline."""
        data = asdict(self)
        if not self.split:
            del data["split"]
        return json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))


_NAMES = {f.name for f in fields(Record)}
_NEEDED = ("key", "problem", "optimizer", "hyper", "seed", "budget", "device", "status", "curve", "version")
_NUMBERS = ("passes", "seconds", "warmup_seconds", "wall_seconds")  # NaN where they are null
_MAX_COUNT = 2**63  # beyond it is no count of ours, and no table holds it
_MAX_KEY = 200  # characters
_BLANK = {code: " " for code in (*range(32), 127)}  # control characters, which no line of text shows


def clean(text: str) -> str:
    """Text that any file and any table takes: no half characters (lone surrogates), no control characters."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text if text.isprintable() else text.translate(_BLANK)


_USUAL = frozenset((float, type(None)))  # what nearly every point consists of


def is_number(value: Any) -> bool:
    """Whether it is a number that a table of floats holds, NaN and infinity included."""
    return type(value) is float or (type(value) is int and abs(value) < _MAX_COUNT)


def is_point(value: Any) -> bool:
    """Whether it is a curve point: numbers, or null for what is not finite, by name."""
    if not isinstance(value, dict) or not value:
        return False
    if _USUAL.issuperset(map(type, value.values())):
        return True
    return all(item is None or is_number(item) for item in value.values())


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_COUNT


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _or_null(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


# What every field must be: (check, what to say where it is not).
_SCHEMA: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("problem", "optimizer", "device", "machine", "fingerprint"), (_is_text, "text")),
    "key": (lambda value: isinstance(value, str) and 0 < len(value) <= _MAX_KEY, "short text"),
    "hyper": (lambda value: isinstance(value, dict), "an object"),
    "seed": (lambda value: type(value) is int and abs(value) < _MAX_COUNT, "a whole number"),
    "budget": (lambda value: is_number(value) and math.isfinite(value), "a number"),
    "status": (lambda value: isinstance(value, str) and value in STATUSES, f"one of {', '.join(STATUSES)}"),
    **dict.fromkeys(("error", "note"), (_or_null(_is_text), "text or null")),
    **dict.fromkeys(
        ("split", "lanes", "forward", "backward", "evaluations", "nonfinite", "flops"), (_is_count, "a count")
    ),
    "own_flops": (_or_null(_is_count), "a count or null"),
    "state_bytes": (_or_null(_is_count), "a count or null"),
    "alone": (lambda value: isinstance(value, bool), "true or false"),
    **dict.fromkeys(_NUMBERS, (_or_null(is_number), "a number or null")),
    **dict.fromkeys(
        ("own_seconds", "peak_bytes", "samples_per_second", "utilisation", "joules"),
        (_or_null(is_number), "a number or null"),
    ),
    "certificate": (lambda value: value is None or _is_certificate(value), "a certificate"),
    "curve": (lambda value: isinstance(value, list) and all(map(is_point, value)), "a list of points of numbers"),
}


def _is_certificate(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_or_null(is_number)(value.get(name)) for name in ("lower", "upper"))
        and isinstance(value.get("scope", ""), str)
        and isinstance(value.get("exact", False), bool)
    )


def read_line(line: str | bytes) -> Record:
    """A record from its stored line; the types of all fields are checked. Raises RecordError with the reason."""
    try:
        text = line if isinstance(line, str) else line.decode("utf-8")
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON ({str(error)[:80]})") from None
    if not isinstance(data, dict):
        raise RecordError("not a JSON object")
    if missing := [name for name in _NEEDED if name not in data]:
        raise RecordError(f"no field {missing[0]!r}")
    if data["version"] != VERSION:
        raise RecordError(f"record version {str(data['version'])[:40]}, this optbench reads {VERSION}")
    if unknown := sorted(set(data) - _NAMES):
        raise RecordError(f"unknown field {unknown[0][:40]!r}")
    for name, value in data.items():
        check, wanted = _SCHEMA.get(name, (None, ""))
        if check and not check(value):
            raise RecordError(f"{name} is not {wanted}")
    if (
        "\\u" in text or not text.rstrip("\r\n").isprintable()
    ):  # half and control characters come escaped, or as they are
        data = _cleaned(data)
    data["curve"] = [
        {k: math.nan if v is None else v for k, v in point.items()} if None in point.values() else point
        for point in data["curve"]
    ]
    for name in _NUMBERS:
        if data.get(name, 0.0) is None:
            data[name] = math.nan
    try:
        spec(data["optimizer"], data["hyper"])
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise RecordError("hyper cannot be written as settings") from None
    return Record(**data)


def lines(folder: Path) -> Iterator[bytes]:
    """The stored lines of a result folder as they are, whether packed or not; each with its newline, if it has one.

    Raises FileNotFoundError where there are none, RequestError where a packed file is damaged.
    """
    path = folder / RECORDS
    packed = path.with_name(f"{RECORDS}.xz")
    if path.exists() or not packed.exists():
        with path.open("rb") as file:
            yield from file
    else:
        try:
            with lzma.open(packed, "rb") as file:
                yield from file
        except (lzma.LZMAError, EOFError) as error:
            raise RequestError(f"{packed} is damaged: {error}") from None


def _cleaned(value: Any) -> Any:
    """JSON data with clean text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """The value as strict JSON takes it: what is not finite is null, text is clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(key) if isinstance(key, str) else key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
