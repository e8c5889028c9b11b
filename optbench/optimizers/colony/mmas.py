"""Max-min ant system on a grid of weights (Stuetzle & Hoos 2000), in the hyper-cube form of Blum & Dorigo (2004)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.checks import check, check_count

LOW, HIGH = 0.001, 0.999  # pheromone is kept between
CONVERGED = 0.99
# (convergence up to, share of the iteration's best, of the restart's best): Blum & Dorigo, table I
SCHEDULE = ((0.4, 1.0, 0.0), (0.6, 2 / 3, 1 / 3), (0.8, 1 / 3, 2 / 3), (math.inf, 0.0, 1.0))


@dataclass(frozen=True)
class MMAS:
    """Every ant picks one grid value a weight, with probability proportional to its pheromone^alpha.

    Pheromone moves by rho towards the best ants: of the iteration at first, of the restart as it converges; converged
    once, towards the best of all; converged again, it is levelled and the search restarts. The grid is the one that
    dp_grid solves exactly, so the gap to its certified optimum is the regret of this search.
    """

    ants: int = 20  # an iteration
    rho: float = 0.1  # evaporation
    alpha: float = 1.0  # exponent of the pheromone
    grid: tuple[float, ...] | None = None  # values of every weight and bias; None takes the problem's own

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    checked_on: ClassVar[tuple[str, ...]] = ("sine_grid_k3_l3",)  # a problem with a grid
    full_batch: ClassVar[bool] = True  # the best ants of the whole run are compared

    def __post_init__(self) -> None:
        check_count("ants", self.ants, 1)
        check(0 < self.rho <= 1, "rho", self.rho, "above 0 and at most 1")
        check(0 < self.alpha < math.inf, "alpha", self.alpha, "a finite number above 0")
        if self.grid is not None:
            distinct = len(set(self.grid)) == len(self.grid) >= 2 and all(map(math.isfinite, self.grid))
            check(distinct, "grid", self.grid, "two or more different finite numbers, such as (-1, 0, 1)")

    def minimise(self, f: Objective) -> None:
        stated = self.grid if self.grid is not None else getattr(f, "grid", None)
        if stated is None:
            raise Inapplicable("this problem states no weight grid: give one, such as grid=(-1,0,1)")
        grid = torch.tensor(stated, dtype=f.dtype, device=f.device)  # (L,)

        level = f.rand(self.ants, f.dim).new_full((f.lanes, f.dim, len(grid)), 0.5)  # (B, D, L)
        tau = level.clone()
        restart, overall = Best(level), Best(level)
        final = torch.zeros(f.lanes, dtype=torch.bool, device=f.device)  # (B,): guided by the best of all
        while True:
            share = (tau**self.alpha).cumsum(2)
            draw = f.rand(self.ants, f.dim) * share[:, None, :, -1]  # (B, m, D)
            picked = (draw[..., None] >= share[:, None]).sum(3).clamp(max=len(grid) - 1)  # (B, m, D), levels
            loss = f.value(grid[picked])
            lowest, ant = loss.min(1)  # (B,)
            row = picked[torch.arange(f.lanes, device=f.device), ant]  # (B, D)
            now = torch.nn.functional.one_hot(row, len(grid)).to(f.dtype)  # (B, D, L)
            restart.update(lowest, now)
            overall.update(lowest, now)

            moved = convergence(tau)
            of_now, of_restart = (torch.zeros_like(moved) for _ in range(2))
            for upto, first, second in reversed(SCHEDULE):
                of_now = torch.where(moved < upto, first, of_now)
                of_restart = torch.where(moved < upto, second, of_restart)
            goal = of_now[:, None, None] * now + of_restart[:, None, None] * restart.choice
            goal = torch.where(final[:, None, None], overall.choice, goal)
            tau = ((1 - self.rho) * tau + self.rho * goal).clamp(LOW, HIGH)

            done = convergence(tau) > CONVERGED
            again = done & final
            tau = torch.where(again[:, None, None], level, tau)
            restart.forget(again)
            final = done & ~final | final & ~done


class Best:
    """The best choice of levels so far, lane by lane."""

    def __init__(self, like: Tensor) -> None:
        self.choice = torch.zeros_like(like)  # (B, D, L), one of L is 1
        self.loss = like.new_full((len(like),), math.inf)  # (B,)

    def update(self, loss: Tensor, choice: Tensor) -> None:
        better = (loss < self.loss) | (self.choice.sum((1, 2)) == 0)
        self.loss = torch.where(better, loss, self.loss)
        self.choice = torch.where(better[:, None, None], choice, self.choice)

    def forget(self, lanes: Tensor) -> None:
        self.loss = torch.where(lanes, math.inf, self.loss)


def convergence(tau: Tensor) -> Tensor:
    """(B, D, L) -> (B,): 0 where all pheromone is level at 1/2, 1 where all of it is at a bound."""
    reach = torch.maximum(HIGH - tau, tau - LOW).mean((1, 2)) / (HIGH - LOW)
    return 2 * (reach - 0.5)
