"""OpenAI's evolution strategy (Salimans, Ho, Chen, Sidor & Sutskever 2017): a gradient from ranked perturbations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Objective
from optbench.optimizers.checks import check_count, check_positive


@dataclass(frozen=True)
class OpenAIES:
    """Mirrored Gaussian perturbations of one point, their losses replaced by centred ranks, the step taken by Adam.

    The point itself, which is never evaluated by the method, is its answer.
    """

    pairs: int = 16  # perturbations, each tried in both directions
    sigma: float = 0.05  # their standard deviation
    lr: float = 0.03  # of Adam (betas 0.9 and 0.999)

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("pairs", self.pairs, 1)
        check_positive("sigma", self.sigma)
        check_positive("lr", self.lr)

    def minimise(self, f: Objective) -> None:
        x = f.start()  # (B, D)
        first, second, step = torch.zeros_like(x), torch.zeros_like(x), 0
        while True:
            noise = f.randn(self.pairs, f.dim)  # (B, n, D)
            loss = f.value(torch.cat([x[:, None] + self.sigma * noise, x[:, None] - self.sigma * noise], 1))
            plus, minus = centred_ranks(loss).chunk(2, 1)  # (B, n)
            gradient = torch.einsum("bn,bnd->bd", plus - minus, noise) / (2 * self.pairs * self.sigma)
            step += 1
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient.square()
            move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            x = x - self.lr * move
            f.recommend(x)


def centred_ranks(loss: Tensor) -> Tensor:
    """(B, n) -> ranks from -1/2 (lowest loss) to 1/2 (highest); equal losses, infinite ones too, share their mean."""
    below = (loss[:, None] < loss[..., None]).sum(2)
    upto = (loss[:, None] <= loss[..., None]).sum(2)
    return ((below + upto - 1) / 2 / max(1, loss.shape[1] - 1) - 0.5).to(loss.dtype)
