"""When trials are scored, and the curves that come of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from optbench.core.problem import Splits
from optbench.engine.model import BatchedModel

CHECKPOINTS = 40  # scored costs between the first thousandth of the budget and its end, at most
FEWEST = 8  # of them; in between no more than the budget has passes, for a score costs more than one
Point = dict[str, float]


class Scoring:
    """The curves of B lanes. The clock of a trial stands still meanwhile; its owner sees to that."""

    def __init__(
        self, rows: BatchedModel, data: Splits, limit: int, whole: int, on_point: Callable[[int, Point], None] | None
    ) -> None:
        """limit: units of work that a trial may spend; whole: units of a forward pass over the training set."""
        lanes = len(rows.matrix)
        self.curves: list[list[Point]] = [[] for _ in range(lanes)]
        self.diverged: list[Point | None] = [None] * lanes  # where a lane was lost
        self._model, self._data, self._on_point = rows, data, on_point
        self._checkpoints = checkpoints(limit, whole)
        self._next: float = self._checkpoints[0]
        self._latest: tuple[Tensor, list[dict[str, float]]] | None = None  # points (B, D) and what they scored

    def due(self, units: int) -> bool:
        return units >= self._next

    def add(self, points: Tensor, at: Point, spent: Point, loses: bool) -> None:
        """Score (B, D) points and add to every lane's curve.

        at: passes, forward, backward and seconds so far; spent: evaluations and units. loses: a lane whose point is not
        finite is lost for good; a population may still find a finite one.
        """
        if not all(self.diverged):
            for lane, scores in enumerate(self._scores(points)):
                if self.diverged[lane] is None:
                    self._keep(lane, {**at, **scores}, spent, loses)
        self._next = next((cost for cost in self._checkpoints if cost > spent["units"]), math.inf)

    def forget(self, passes: float) -> None:
        """Drop the last points where no work was done since: the parameters may have moved after them all the same."""
        for lost, curve in zip(self.diverged, self.curves, strict=True):
            if lost is None and len(curve) > 1 and curve[-1]["passes"] == passes:
                curve.pop()

    def _scores(self, points: Tensor) -> list[dict[str, float]]:
        """What points score; a swarm that has found nothing better since is not scored again."""
        lanes = len(points)
        moved = list(range(lanes))  # lost lanes too: who is still alive must not change how a score is computed
        found: list[dict[str, float]] = [{}] * lanes
        if self._latest is not None and not self._model.buffered:
            moved = (points != self._latest[0]).any(dim=1).nonzero().flatten().tolist()
            found = list(self._latest[1])
        if moved:
            with torch.random.fork_rng():
                anew = self._model.score(points[moved], self._data)
            for lane, scores in zip(moved, anew, strict=True):
                found[lane] = scores
        self._latest = points.clone(), found
        return found

    def _keep(self, lane: int, point: Point, spent: Point, loses: bool) -> None:
        self.curves[lane].append(point)
        if loses and not math.isfinite(point["loss"]):
            self.diverged[lane] = {**point, **spent}
        if self._on_point:
            self._on_point(lane, point)


def checkpoints(limit: int, whole: int) -> list[int]:
    """Log-spaced costs at which to score, from a thousandth of the budget on, or a quarter of a pass."""
    count = min(CHECKPOINTS, max(FEWEST, math.ceil(limit / whole)))
    share = min(1.0, max(1e-3, whole / 4 / limit)) if limit else 1.0
    return [math.ceil(limit * share ** (1 - k / (count - 1))) for k in range(count)]
