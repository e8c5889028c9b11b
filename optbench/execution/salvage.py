"""Records of trials that were stopped from outside: what they had measured until then is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from optbench.core.scoring import Point
from optbench.execution.task import LaneGroup, resolve
from optbench.records.schema import Record, RecordError, is_point, read_line
from optbench.registry.catalog import Catalog


def read_points(path: Path, trials: int) -> list[list[Point]]:
    """The curves that a worker wrote down for so many trials; what is no point of one of them is left out.

    Raises OSError where the file cannot be read; one that is not there has no points.
    """
    curves: list[list[Point]] = [[] for _ in range(trials)]
    try:
        stored = path.read_bytes().splitlines()
    except FileNotFoundError:
        return curves
    for line in stored:
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # the last line may be half written
            place, point = json.loads(line)
            if type(place) is int and 0 <= place < trials and is_point(point):
                curves[place].append(point)
    return curves


def read_answer(path: Path, group: LaneGroup) -> list[Record]:
    """The records that a worker wrote for a group, one a trial in its order. Raises RecordError for anything else."""
    try:
        stored = path.read_bytes().splitlines()
    except OSError as error:
        raise RecordError(f"{error.strerror}") from None
    return answered(stored, group)


def answered(lines: Sequence[bytes | str], group: LaneGroup) -> list[Record]:
    """The records of a group from their lines, one a trial in its order. Raises RecordError for anything else."""
    records = [read_line(line) for line in lines]
    if [record.key for record in records] != [trial.key for trial in group.trials]:
        raise RecordError(f"{len(records)} records that are not of its {len(group.trials)} trials")
    for record, trial in zip(records, group.trials, strict=True):
        record.problem, record.optimizer, record.hyper = trial.problem, trial.optimizer, dict(trial.hyper)
        record.seed, record.budget, record.device = trial.seed, trial.passes, trial.device
        record.split = trial.split
    return records


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
            record.passes, record.seconds = last.get("passes", 0.0), last.get("seconds", 0.0)
            record.forward, record.backward = int(last.get("forward", 0)), int(last.get("backward", 0))
        records.append(record)
    return records
