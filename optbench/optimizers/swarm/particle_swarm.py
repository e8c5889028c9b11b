"""Canonical particle swarm: Clerc & Kennedy (2002), constriction; topologies of Kennedy & Mendes (2002)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Objective
from optbench.optimizers.checks import check, check_count

MAX_PART = 2**17  # numbers that a processor moves at a time, lane by lane: they stay in its cache; a GPU takes more


@dataclass(frozen=True)
class ParticleSwarm:
    """v <- chi (v + U1 (p - x) phi/2 + U2 (l - x) phi/2), x <- x + v, with fresh U1, U2 in every dimension.

    p is the particle's own best point, l the best of its neighbours' (itself included). Positions start as independent
    initialisations of the network, velocities at zero (Engelbrecht 2012); nothing is clamped or bounded.
    """

    swarm: int = 30  # particles
    topology: str = "star"  # who informs whom: "star" (everyone), "ring" (index +-1), "torus" (4 neighbours on a grid)
    phi: float = 4.1  # c1 + c2 before constriction, split evenly; chi = 0.72984 at 4.1

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("swarm", self.swarm, 2)
        check(
            self.phi > 4 and math.isfinite(self.phi), "phi", self.phi, "a finite number above 4, else nothing contracts"
        )
        neighbours(self.topology, self.swarm)

    def minimise(self, f: Objective) -> None:
        chi = 2 / abs(2 - self.phi - math.sqrt(self.phi**2 - 4 * self.phi))
        pull = chi * self.phi / 2
        table = neighbours(self.topology, self.swarm).to(f.device)  # (P, K)

        x = f.start(self.swarm)  # (B, P, D)
        v = torch.zeros_like(x)
        own = x.clone()  # (B, P, D): where each particle saw its best
        best = torch.full(x.shape[:2], math.inf, dtype=x.dtype, device=x.device)  # (B, P)
        parts = in_parts(x)
        while True:
            loss = f.value(x)
            better = loss < best
            best = torch.where(better, loss, best)
            torch.where(better[..., None], x, own, out=own)
            f.recommend(best_of(own, best.argmin(1, keepdim=True))[:, 0])
            led = led_by(best, table)  # (B, P) or (B, 1)
            for part in parts:
                here, velocity = x[:, part], v[:, part].mul_(chi)  # (B, p, D), in place
                for goal in (own[:, part], best_of(own, led if led.shape[1] == 1 else led[:, part])):
                    velocity.add_(f.rand(here.shape[1], f.dim).mul_(goal - here), alpha=pull)
                here.add_(velocity)


def led_by(best: Tensor, table: Tensor) -> Tensor:
    """(B, P) losses and a table of neighbours (P, K), or (1, K) for all -> (B, P) or (B, 1): who is best among them."""
    chosen = best[:, table].argmin(2)  # which of the K
    return table.expand(len(best), *table.shape).gather(2, chosen[..., None]).squeeze(2)


def best_of(own: Tensor, led: Tensor) -> Tensor:
    """(B, P, D) best points and (B, P) or (B, 1) indices of particles -> their points, (B, P, D) or (B, 1, D)."""
    first = torch.arange(len(own), device=own.device)[:, None] * own.shape[1]  # of each lane, in one long list
    # Whole rows at a time: gather takes number by number, a tenth as fast.
    return own.flatten(0, 1).index_select(0, (led + first).flatten()).view(*led.shape, own.shape[2])


def in_parts(x: Tensor) -> list[slice]:
    """The particles of (B, P, D) in parts: a swarm on a large network is most of the memory, and fresh memory is slow.

    They do not depend on the lanes, which draw their numbers part by part.
    """
    most = max(1, (MAX_PART if x.device.type == "cpu" else 256 * MAX_PART) // x.shape[2])
    return [slice(first, first + most) for first in range(0, x.shape[1], most)]


def neighbours(topology: str, particles: int) -> Tensor:
    """(P, K): row i holds the indices of the particles that inform particle i. A star is one row, for all of them.

    Raises ValueError for an unknown topology and for a swarm size that it does not fit.
    """
    i = torch.arange(particles)
    if topology == "star":
        return i[None]
    if topology == "ring":
        check(particles >= 3, "swarm", particles, "a ring has at least 3")
        return torch.stack([i, (i - 1) % particles, (i + 1) % particles], 1)
    if topology == "torus":
        rows, columns = grid(particles)
        fits = f"a torus has rows x columns of at least 3 each; the nearest is {nearest(particles)}"
        check(rows >= 3, "swarm", particles, fits)
        r, c = i // columns, i % columns
        up, down = (r - 1) % rows * columns + c, (r + 1) % rows * columns + c
        left, right = r * columns + (c - 1) % columns, r * columns + (c + 1) % columns
        return torch.stack([i, up, down, left, right], 1)
    raise ValueError(f"topology={topology!r}: 'star', 'ring' or 'torus'")


def grid(particles: int) -> tuple[int, int]:
    """(rows, columns) with rows x columns = particles, as square as it gets, rows <= columns."""
    rows = next(r for r in range(math.isqrt(particles), 0, -1) if particles % r == 0)
    return rows, particles // rows


def nearest(particles: int) -> int:
    """The swarm size nearest to `particles` that forms a torus."""
    return min((n for n in range(9, particles + 10) if grid(n)[0] >= 3), key=lambda n: abs(n - particles))
