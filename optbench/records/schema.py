"""The record that one trial leaves, as one line of strict JSON. Standard library only."""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from optbench.core.trial import STATUSES, RequestError, spec

VERSION = 1  # of the record; a reader refuses another one by name
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
    seconds: float = 0.0
    warmup_seconds: float = 0.0  # first calls and compilation, outside `seconds`
    wall_seconds: float = 0.0  # its share of the time that a worker gave its group, with all scoring and setting up
    peak_bytes: int | None = None  # memory above what the process held when the trial began
    samples_per_second: float | None = None
    utilisation: float | None = None  # of a GPU, 0 to 1, while the trial ran alone on it
    joules: float | None = None  # that the GPU took meanwhile
    note: str | None = None  # how it was run, where that is not as it was planned
    certificate: dict[str, Any] | None = None  # {lower, upper, scope, exact}
    fingerprint: str = ""  # of the source of its problem and optimizer
    curve: list[dict[str, float]] = field(default_factory=list)
    version: int = VERSION

    @property
    def label(self) -> str:
        return spec(self.optimizer, self.hyper)

    def line(self) -> str:
        """One line of strict JSON, without the newline."""
        return json.dumps(_finite(asdict(self)), allow_nan=False, separators=(",", ":"))


_NAMES = {f.name for f in fields(Record)}
_NEEDED = ("key", "problem", "optimizer", "hyper", "seed", "budget", "device", "status", "curve", "version")
_NUMBERS = ("passes", "seconds", "warmup_seconds", "wall_seconds")


def read_line(line: str) -> Record:
    """A record from its stored line. Raises RecordError with the reason."""
    try:
        data = json.loads(line)
    except ValueError as error:
        raise RecordError(f"not JSON ({error})") from None
    if not isinstance(data, dict):
        raise RecordError("not a JSON object")
    if missing := [name for name in _NEEDED if name not in data]:
        raise RecordError(f"no field {missing[0]!r}")
    if data["version"] != VERSION:
        raise RecordError(f"record version {data['version']}, this optbench reads {VERSION}")
    if unknown := sorted(set(data) - _NAMES):
        raise RecordError(f"unknown field {unknown[0]!r}")
    if data["status"] not in STATUSES:
        raise RecordError(f"unknown status {data['status']!r}")
    if not isinstance(data["curve"], list) or not isinstance(data["hyper"], dict):
        raise RecordError("curve is not a list or hyper not an object")
    if not all(isinstance(point, dict) for point in data["curve"]):
        raise RecordError("a curve point is not an object")
    data["curve"] = [
        {k: math.nan if v is None else v for k, v in point.items()} if None in point.values() else point
        for point in data["curve"]
    ]
    for name in _NUMBERS:
        if data.get(name, 0.0) is None:
            data[name] = math.nan
    return Record(**data)


def lines(folder: Path) -> Iterator[str]:
    """The stored lines of a result folder, whether packed or not. Raises FileNotFoundError where there are none.

    Raises RequestError where a packed file is damaged.
    """
    path = folder / RECORDS
    packed = path.with_name(f"{RECORDS}.xz")
    if path.exists() or not packed.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    else:
        try:
            with lzma.open(packed, "rt", encoding="utf-8", errors="replace") as file:
                yield from file
        except (lzma.LZMAError, EOFError) as error:
            raise RequestError(f"{packed} is damaged: {error}") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
