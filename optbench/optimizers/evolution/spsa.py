"""Simultaneous perturbation stochastic approximation (Spall 1992), with the gains of Spall (1998)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from optbench.core.objective import Objective
from optbench.optimizers.checks import check_count, check_positive


@dataclass(frozen=True)
class SPSA:
    """Two evaluations a step, whatever the dimension: a random sign for every parameter, forwards and backwards.

    Gains a / (A + k)^0.602 and c / k^0.101, with a set, as Spall advises, so that the first steps have a given size:
    `trials` gradient estimates at the start are spent on it. The point itself is the answer.
    """

    step: float = 0.005  # mean change of a parameter in the first steps
    c: float = 0.01  # the perturbation
    stability: float = 100.0  # A, steps before the gain begins to fall; about a tenth of all steps
    trials: int = 8  # gradient estimates that set the gain

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("step", self.step)
        check_positive("c", self.c)
        check_positive("stability", self.stability, zero=True)
        check_count("trials", self.trials, 1)

    def minimise(self, f: Objective) -> None:
        x = f.start()  # (B, D)
        slopes = [self._slope(f, x, self.c)[0].abs() for _ in range(self.trials)]  # every entry of an estimate is +-s
        size = torch.stack(slopes).mean(0).clamp(min=torch.finfo(x.dtype).tiny)  # (B,)
        gain = (self.step * (self.stability + 1) ** 0.602 / size)[:, None]
        k = 0
        while True:
            k += 1
            slope, signs = self._slope(f, x, self.c / k**0.101)
            x = x - gain / (self.stability + k) ** 0.602 * slope[:, None] * signs
            f.recommend(x)

    def _slope(self, f: Objective, x: torch.Tensor, c: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) slopes along (B, D) random signs; 0 where a loss was not finite."""
        signs = torch.where(f.rand(f.dim) < 0.5, -1.0, 1.0).to(x.dtype)
        ahead, behind = f.value(torch.stack([x + c * signs, x - c * signs], 1)).unbind(1)
        slope = (ahead - behind) / (2 * c)
        return torch.where(slope.isfinite(), slope, 0), signs
