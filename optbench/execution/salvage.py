"""Records of trials that were stopped from outside: what they had measured until then is kept."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from optbench.core.scoring import Point
from optbench.execution.task import LaneGroup, resolve
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog


def read_points(path: Path, trials: int) -> list[list[Point]]:
    """The curves that a worker wrote down for so many trials; the file is removed."""
    curves: list[list[Point]] = [[] for _ in range(trials)]
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line may be half written
                place, point = json.loads(line)
                curves[place].append(point)
        path.unlink()
    return curves


def ended_early(
    group: LaneGroup, catalog: Catalog, status: str, reason: str, curves: list[list[Point]]
) -> list[Record]:
    """A record a trial of a group that was stopped: its status, its reason and the curve so far."""
    records = []
    for task, curve in zip(resolve(group.trials, catalog), curves, strict=True):
        record = task.record(status, reason)
        record.lanes, record.note, record.curve = len(group.trials), group.note, curve
        if curve:
            last = curve[-1]
            record.passes, record.seconds = last["passes"], last["seconds"]
            record.forward, record.backward = int(last["forward"]), int(last["backward"])
        records.append(record)
    return records
