"""Verify: points of a third-party optimizer are scored again in a process that never imported it.

The worker that trained leaves, beside its records, the points that its curves end at and where they are lowest. Another
process, which knows the problem alone, scores these. A record that says something else is `failed: not reproduced`. So
is one whose data were other data before or after it, or than they are here. Lanes that end at one point are run again
one by one. What a point cannot show, how it was found and when, is not verified: see `run --isolate`. The optimizers of
optbench and torch are trusted and not scored again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from optbench.core.outcome import Outcome
from optbench.core.problem import Problem
from optbench.core.scoring import Point
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.execution.task import LaneGroup
from optbench.records.schema import Record, read_line
from optbench.registry.catalog import Catalog

TOLERANCE = 1e-4  # relative, of a loss: other widths and thread counts round differently
START_SHARE = 1e-6  # of the loss of the start: below it losses are rounding
METRIC_TOLERANCE = 5e-3  # of what is no loss: of samples at a boundary, some may fall to the other side
_COUNTS = ("passes", "forward", "backward", "seconds", "own_flops")  # of a curve point: no scores


@dataclass(frozen=True)
class Check:
    """A group that has ended and is to be scored again: pure data."""

    group: LaneGroup
    lines: tuple[str, ...]  # its records as they came
    data: tuple[str, str]  # digests of the problem's data before and after it ran
    answer: str  # the file that `Answers` wrote
    seconds: float  # that the group took


def data_digest(problem: Problem, device: str) -> str:
    """What tells whether the data that a process has of a problem are still the same."""
    digest = hashlib.sha256()
    for part in splits(problem, device):
        for tensor in part or ():
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


class Answers:
    """What a worker hands over of a group: for each lane the last and the lowest point, then the state."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._state: dict[str, list[Tensor]] = {}

    def add(self, outcome: Outcome) -> None:
        """The next lanes of the group."""
        self._rows += [row.cpu() for pair in zip(outcome.points, outcome.lowest, strict=True) for row in pair]
        for name, values in outcome.state.items():
            self._state.setdefault(name, []).append(values.cpu())

    def write(self, path: Path) -> None:
        """Bytes and nothing else: whoever reads them knows the shapes. Raises OSError."""
        with path.open("wb") as file:
            for tensor in (*self._rows, *(part for parts in self._state.values() for part in parts)):
                file.write(_bytes(tensor.detach()))


def verified(check: Check, catalog: Catalog) -> list[Record]:
    """The group's records; those that its points do not bear out have failed.

    Runs in a process that never imported the optimizer. Raises whatever the problem raises.
    """
    records = [read_line(line) for line in check.lines]
    trial = check.group.trials[0]
    problem = catalog.problem(trial.problem, trial.split)
    if {*check.data} != {_own_digest(problem, trial.device)}:
        reasons: list[str | None] = ["the data are not what they were"] * len(records)
    else:
        reasons = _compared(check, problem, records)
    for record, reason in zip(records, reasons, strict=True):
        if reason and record.status in ("spent", "finished"):
            record.status, record.error, record.certificate = "failed", f"not reproduced: {reason}", None
    return records


def _compared(check: Check, problem: Problem, records: Sequence[Record]) -> list[str | None]:
    """For each lane what differs, as a phrase; None where all is as its record says."""
    trials = check.group.trials
    data = splits(problem, trials[0].device)
    model = BatchedModel(problem, tuple(trial.seed for trial in trials), trials[0].device)
    start = model.matrix.clone()
    first = model.score(start, data)
    state = model.state
    try:
        last, lowest = _read(Path(check.answer), model, problem.dtype)
    except ValueError as error:
        return [str(error)] * len(trials)
    final = model.score(last, data)

    def differs(what: str, stated: Point, points: Tensor, scores: Sequence[Point], lane: int) -> str | None:
        small = START_SHARE * abs(first[lane]["loss"])
        reason = _difference(what, stated, scores[lane], small)
        if reason and len(points) > 1 and not state:  # it may have been scored with fewer lanes, those that had moved
            return _difference(what, stated, model.score(points[lane : lane + 1], data)[0], small)
        return reason

    reasons: list[str | None] = []
    for lane, record in enumerate(records):
        if not record.curve:
            reasons.append(None)
            continue
        reason = differs("its point", record.curve[-1], last, final, lane)
        if not state:  # else what the network had become meanwhile is not known
            reason = reason or differs("its start", record.curve[0], start, first, lane)
            reason = reason or _claimed(record, model.score(lowest[lane : lane + 1], data)[0], first[lane])
        reasons.append(reason or _shared(lane, last, start, [trial.seed for trial in trials]))
    return reasons


def _shared(lane: int, last: Tensor, start: Tensor, seeds: Sequence[int]) -> str | None:
    """That another lane, which began elsewhere, ends at the very same point: lanes are trials of their own.

    A trial that is alone has no such lane. So a group whose lanes met by chance loses time and no record: what failed
    in a group is run again trial by trial.
    """
    for other, seed in enumerate(seeds):
        if other != lane and torch.equal(last[other], last[lane]) and not torch.equal(start[other], start[lane]):
            return f"its point is that of seed {seed}, which ran beside it, to the last bit"
    return None


def _read(path: Path, model: BatchedModel, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The last and the lowest points (B, D); the state of the model becomes that of the file. Raises ValueError."""
    points = model.matrix.new_empty((len(model.matrix), 2, model.dim), dtype=dtype)
    tensors = [points, *model.state.values()]
    expected = sum(map(_size, tensors))
    try:
        found = path.stat().st_size
        content = path.read_bytes() if found == expected else b""
    except OSError:
        found, content = 0, b""
    if len(content) != expected:
        raise ValueError(f"{found} bytes of points were handed over, {expected} are needed")
    for tensor in tensors:
        mine, content = bytearray(content[: _size(tensor)]), content[_size(tensor) :]
        if mine:
            tensor.copy_(torch.frombuffer(mine, dtype=tensor.dtype).view(tensor.shape))
    return points[:, 0].contiguous(), points[:, 1].contiguous()


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.dtype.itemsize


def _difference(what: str, stated: Point, found: Point, small: float) -> str | None:
    """Where two scores of one point differ, as a phrase. small: losses that differ by no more are the same."""
    names = {name for name in stated if name not in _COUNTS}
    if odd := sorted(names ^ found.keys()):
        return f"{what} has no score {odd[0]!r}" if odd[0] in names else f"the record has no score {odd[0]!r}"
    for name in sorted(names, key=lambda name: (name != "loss", name)):
        loss = name.endswith("loss")
        tolerance = {"rel_tol": TOLERANCE, "abs_tol": small} if loss else {"rel_tol": 1e-2, "abs_tol": METRIC_TOLERANCE}
        one, two = stated[name], found[name]
        if not (math.isclose(one, two, **tolerance) or (math.isnan(one) and math.isnan(two))):
            return f"{what} has {name} {two:.6g} where it is scored again, its record says {one:.6g}"
    return None


def _claimed(record: Record, lowest: Point, start: Point) -> str | None:
    """That the curve is nowhere below its lowest point."""
    stated = min((point["loss"] for point in record.curve if math.isfinite(point["loss"])), default=math.inf)
    small = START_SHARE * abs(start["loss"])
    if stated >= lowest["loss"] or math.isclose(stated, lowest["loss"], rel_tol=TOLERANCE, abs_tol=small):
        return None
    return f"the curve goes down to {stated:.6g}, its lowest point has {lowest['loss']:.6g} where it is scored again"


@lru_cache(maxsize=16)
def _own_digest(problem: Problem, device: str) -> str:
    return data_digest(problem, device)


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
