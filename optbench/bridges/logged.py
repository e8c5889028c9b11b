"""The records of a folder as what an experiment tracker logs: a run a trial, with settings, tags and numbers by cost.

Trackers count steps in whole numbers, so a step is a thousandth of a pass; `passes` is logged beside, exactly.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.records.files import read_environment, read_records
from optbench.records.schema import Record

STEPS_PER_PASS = 1000
_SUMMARY = ("passes", "seconds", "forward", "backward", "evaluations", "peak_bytes")


@dataclass(frozen=True)
class Logged:
    """One trial. started: seconds since 1970 at its first point; the clock of its points follows on it."""

    record: Record
    started: float

    @property
    def settings(self) -> dict[str, Any]:
        """What it was asked for, with the optimizer's settings by name."""
        record = self.record
        asked = {"problem": record.problem, "optimizer": record.optimizer, "label": record.label, "seed": record.seed}
        return asked | {"budget_passes": record.budget, "device": record.device} | dict(record.hyper)

    @property
    def tags(self) -> dict[str, str]:
        """What became of it, as text."""
        record = self.record
        found = {"optbench.key": record.key, "optbench.status": record.status, "optbench.error": record.error}
        found |= {"optbench.note": record.note, "optbench.machine": record.machine}
        return {name: text for name, text in found.items() if text}

    @property
    def totals(self) -> dict[str, float]:
        """What it cost in all; what is not finite or was not measured is left out."""
        return _finite({name: getattr(self.record, name) for name in _SUMMARY})

    def points(self) -> Iterator[tuple[int, float, dict[str, float]]]:
        """(step, seconds since 1970, numbers) of every point of the curve; steps grow."""
        latest = -1
        for point in self.record.curve:
            latest = max(latest + 1, round(STEPS_PER_PASS * point["passes"]))
            yield latest, self.started + point.get("seconds", 0.0), _finite(point)


def logged(folder: Path, out: Path) -> list[Logged]:
    """The trials of a result folder; those that do not apply are none.

    Raises RequestError for a folder without records, and for an `out` that is there already.
    """
    records, _ = read_records(folder) if folder.is_dir() else ([], [])
    if not records:
        raise RequestError(f"{folder} holds no records; `python -m optbench run --out {folder}` makes some")
    if out.exists():
        raise RequestError(f"{out} exists; remove it, or write --out another folder")
    began = _since_1970(read_environment(folder).get("started"))
    return [Logged(record, began) for record in records if record.status != "inapplicable"]


def plain(text: str) -> str:
    """As part of a path or tag."""
    return re.sub(r"[^\w.=,-]+", "_", text).strip("_") or "_"


def _finite(numbers: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if value is not None and math.isfinite(value)}


def _since_1970(started: Any) -> float:
    try:
        return datetime.datetime.fromisoformat(str(started)).timestamp()
    except ValueError:  # folders of other benchmarks do not say
        return 0.0
