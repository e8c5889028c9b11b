"""Standard particle swarm 2011 (Clerc 2012): moves drawn from a ball, whatever the axes; adaptive random links."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Objective
from optbench.optimizers.checks import check, check_count
from optbench.optimizers.swarm.particle_swarm import best_of, in_parts


@dataclass(frozen=True)
class SPSO2011:
    """v <- w v + x' - x, x <- x + v, with x' in the ball around G of radius |G - x|.

    G is the centre of x, x + c (p - x) and x + c (l - x), without the last where the particle leads itself. Every
    particle informs itself and `links` others at random, drawn anew after an iteration that found nothing better.
    Velocities start as differences of initial networks; nothing is bounded.
    """

    swarm: int = 40  # particles
    links: int = 3  # K, particles that each one informs beside itself
    w: float = 1 / (2 * math.log(2))  # inertia
    c: float = 0.5 + math.log(2)  # how far beyond p and l the centre lies

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("swarm", self.swarm, 2)
        check_count("links", self.links, 1)
        check(0 <= self.w < 1, "w", self.w, "from 0 up to, not including, 1, else velocities grow without end")
        check(0 < self.c < math.inf, "c", self.c, "a finite number above 0")

    def minimise(self, f: Objective) -> None:
        x, other = f.start(2 * self.swarm).chunk(2, 1)  # (B, P, D)
        x, v = x.clone(), other - x
        del other  # the memory that all starts share
        own = x.clone()  # (B, P, D): where each particle saw its best
        best = torch.full(x.shape[:2], math.inf, dtype=x.dtype, device=x.device)  # (B, P)
        informs = self._links(f)
        parts = in_parts(x)
        while True:
            loss = f.value(x)
            record = best.amin(1)  # (B,)
            better = loss < best
            best = torch.where(better, loss, best)
            torch.where(better[..., None], x, own, out=own)
            f.recommend(best_of(own, best.argmin(1, keepdim=True))[:, 0])
            stuck = best.amin(1) >= record
            # Drawn in every iteration, used or not, so that a lane's numbers do not depend on its success.
            informs = torch.where(stuck[:, None, None], self._links(f), informs)
            led = torch.where(informs, best[:, :, None], math.inf).argmin(1)  # (B, P): the best of who informs it
            alone = (led == torch.arange(self.swarm, device=x.device))[..., None]
            for part in parts:
                here, velocity = x[:, part], v[:, part]  # (B, p, D), in place
                to_own, to_lead = own[:, part] - here, best_of(own, led[:, part]) - here
                gap = torch.where(alone[:, part], to_own / 2, (to_own + to_lead) / 3).mul_(self.c)  # G - x
                ball = in_ball(f.randn(*gap.shape[1:]), f.rand(gap.shape[1]))
                velocity.mul_(self.w).add_(gap).add_(ball.mul_(gap.norm(dim=2, keepdim=True)))
                here.add_(velocity)

    def _links(self, f: Objective) -> Tensor:
        """(B, P, P), True where the row's particle informs the column's."""
        chosen = (f.rand(self.swarm, self.links) * self.swarm).long().clamp(max=self.swarm - 1)  # (B, P, K)
        links = torch.eye(self.swarm, dtype=torch.bool, device=f.device).expand(f.lanes, -1, -1)
        return links.scatter(2, chosen, True)


def in_ball(normal: Tensor, uniform: Tensor) -> Tensor:
    """(..., D) normal and (...) uniform numbers -> points in the unit ball: any direction, any radius, equally likely.

    The report speaks of a uniform distribution, but its reference program draws the radius itself uniformly, so points
    gather near the centre. With the radius u^(1/D) of a uniform ball a swarm in 30 dimensions does not converge at all.
    """
    return normal / normal.norm(dim=-1, keepdim=True) * uniform[..., None]
