"""When trials are scored, and the curves that come of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from optbench.core.goal import Goal
from optbench.core.meter import Spent
from optbench.core.model import Model
from optbench.core.problem import Splits

MAX_CHECKPOINTS = 40  # scored costs between the first thousandth of the budget and its end
MIN_CHECKPOINTS = 8  # of them; in between no more than the budget has passes, for a score costs more than one
Point = dict[
    str, float
]  # of a curve: passes, forward, backward, seconds, own_flops, loss and the metrics of every split


class Scoring:
    """The curves of B lanes. The clock of a trial stands still meanwhile; its owner sees to that."""

    def __init__(
        self,
        model: Model,
        data: Splits,
        limit: int,
        one_pass: int,
        on_point: Callable[[int, Point], None] | None,
        goal: Goal | None = None,
        warms: bool = False,
    ) -> None:
        """limit: what a trial may spend, in FLOPs or microseconds. one_pass: of a forward pass over the training set.

        goal: a lane that has it is over. warms: nobody reads the curves, so that the budget's end is scored alone.
        """
        self.reached: list[Point | None] = [None] * len(model.matrix)  # where a lane had its goal
        self._goal = goal
        lanes = len(model.matrix)
        self.curves: list[list[Point]] = [[] for _ in range(lanes)]
        self.diverged: list[Point | None] = [None] * lanes  # where the loss of a lane was not finite for good
        self.lowest = model.matrix.detach().clone()  # (B, D): the points that scored lowest
        self._model, self._data, self._on_point = model, data, on_point
        self._checkpoints = [limit] if warms else checkpoints(limit, one_pass)
        self._next: float = self._checkpoints[0]
        self._latest: tuple[Tensor, list[dict[str, float]]] | None = None  # points (B, D) and what they scored

    def due(self, units: int) -> bool:
        """Whether so many spent FLOPs have reached the next checkpoint."""
        return units >= self._next

    @property
    def over(self) -> bool:
        """Whether every lane has diverged or has its goal."""
        return all(a is not None or b is not None for a, b in zip(self.diverged, self.reached, strict=True))

    def add(self, points: Tensor, spent: Spent, for_good: bool, mark: int) -> None:
        """Score (B, D) points and add to every lane's curve.

        for_good: a lane whose loss is not finite has diverged; a population may still find a finite one.
        """
        if not self.over:
            at = {
                "passes": spent.passes,
                "forward": spent.forward,
                "backward": spent.backward,
                "seconds": spent.seconds,
            }
            for lane, scores in enumerate(self._scores(points)):
                if self.diverged[lane] is None and self.reached[lane] is None:
                    self._keep(
                        lane, {**at, "own_flops": spent.own_flops[lane], **scores}, points[lane], spent, for_good
                    )
        self._next = next((cost for cost in self._checkpoints if cost > mark), math.inf)

    def forget(self, passes: float) -> None:
        """Drop the last points where no work was done since: the parameters may have moved after them all the same."""
        for diverged, reached, curve in zip(self.diverged, self.reached, self.curves, strict=True):
            if diverged is None and reached is None and len(curve) > 1 and curve[-1]["passes"] == passes:
                curve.pop()

    def _scores(self, points: Tensor) -> list[dict[str, float]]:
        """What points score; a swarm that has found nothing better since is not scored again."""
        lanes = len(points)
        moved = list(range(lanes))  # diverged lanes too: who still trains must not change how a score is computed
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

    def _keep(self, lane: int, point: Point, row: Tensor, spent: Spent, for_good: bool) -> None:
        if math.isfinite(point["loss"]) and not any(one["loss"] <= point["loss"] for one in self.curves[lane]):
            self.lowest[lane] = row
        self.curves[lane].append(point)
        if for_good and not math.isfinite(point["loss"]):
            self.diverged[lane] = {**point, "evaluations": spent.evaluations, "units": spent.flops}
        if self._goal is not None and self._goal.reached(point):
            self.reached[lane] = {**point, "evaluations": spent.evaluations, "units": spent.flops}
        if self._on_point:
            self._on_point(lane, point)


def checkpoints(limit: int, one_pass: int) -> list[int]:
    """Log-spaced costs, in FLOPs, at which to score, from a thousandth of the budget on, or a quarter of a pass.

    limit: the budget. one_pass: a pass.
    """
    count = min(MAX_CHECKPOINTS, max(MIN_CHECKPOINTS, math.ceil(limit / one_pass)))
    share = min(1.0, max(1e-3, one_pass / 4 / limit)) if limit else 1.0
    return [math.ceil(limit * share ** (1 - k / (count - 1))) for k in range(count)]
