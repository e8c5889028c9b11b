"""What a lane group leaves, and which point of a lane is its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optbench.core.meter import Spent
from optbench.core.scoring import Point


@dataclass(frozen=True)
class Outcome:
    """The end of a lane group; every list has one entry a lane."""

    spent: Spent  # of each lane
    curves: list[list[Point]]  # scored points
    diverged: list[Point | None]  # where the loss of a lane was not finite for good
    nonfinite: list[int]  # losses that were not finite
    certificates: list[dict[str, Any] | None]
    points: Tensor  # (B, D): the answers, which the last curve points score
    lowest: Tensor  # (B, D): where the curves are lowest
    state: dict[str, Tensor]  # {buffer: (B, ...)} of what the networks had become beside their parameters
    reached: list[Point | None]  # where a lane had its goal
    charged_own: bool  # the optimizer has stated work of its own
    uncaptured: str = ""  # why a GPU ran the steps operation by operation


class Answer:
    """The point of every lane that is scored where no parameters are in training.

    On the full batch the best so far, on minibatches the best of the latest evaluation; what is recommended overrides.
    """

    def __init__(self, points: Tensor, keeps_best: bool) -> None:
        """points: (B, D), to begin with. keeps_best: losses of different evaluations may be compared."""
        self.points = points.clone()  # (B, D)
        self.recommended = False
        self._keeps_best = keeps_best
        self._lowest = points.new_full((len(points),), math.inf)  # (B,)
        self._lane = torch.arange(len(points), device=points.device)
        self._alone = len(points) == 1 and points.device.type == "cpu"
        self._least = math.inf  # the same for a lane alone on the CPU, where a number costs less than a tensor

    def update(self, points: Tensor, losses: Tensor) -> None:
        """Points (B, P, D) were found to have losses (B, P'), P' <= P; infinite where they are not finite."""
        if self.recommended:
            return
        lowest, place = losses.min(1)  # (B,)
        if self._alone:
            if (least := float(lowest)) < (self._least if self._keeps_best else math.inf):
                self._least, self.points = least, points[0].index_select(0, place).detach()
            return
        found = points[self._lane, place].detach()  # (B, D)
        better = lowest < self._lowest if self._keeps_best else lowest < math.inf
        self._lowest = torch.where(better, lowest, self._lowest)
        self.points = torch.where(better[:, None], found, self.points)

    def recommend(self, points: Tensor) -> None:
        """These (B, D) from now on."""
        self.points, self.recommended = points.detach().clone(), True
