"""Ant colony for continuous domains: ACO_R of Socha & Dorigo (2008), with its optional rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.objective import Inapplicable, Objective
from optbench.optimizers.checks import check, check_count, check_positive

LARGEST_BASIS = 1_000  # dimensions up to which the rotation's D x D basis is built for every ant


@dataclass(frozen=True)
class ACOR:
    """An archive of `archive` solutions; each ant picks one of them, whole, and samples a normal around it.

    Member l is picked with weight exp(-(l-1)^2 / (2 q^2 k^2)) by rank, and its deviation in each dimension is xi times
    the mean distance to the other members. The best k of archive and ants remain. Only ranks matter, so a monotone
    transform of the loss changes nothing. The paper asks for an archive of at least D solutions.
    """

    archive: int = 50  # k, solutions remembered
    ants: int = 2  # m, new points an iteration
    q: float = 1e-4  # locality: near 0 only the best member is sampled around; 0.1 for multimodal losses
    xi: float = 0.85  # speed of evaporation: scale of every deviation
    rotate: bool = False  # sample along axes drawn from the archive; O(archive x D^2) an ant

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = True  # the archive compares losses of the whole run

    def __post_init__(self) -> None:
        check_count("archive", self.archive, 2)
        check_count("ants", self.ants, 1)
        check_positive("q", self.q)
        check_positive("xi", self.xi)
        check(isinstance(self.rotate, bool), "rotate", self.rotate, "true or false")

    def minimise(self, f: Objective) -> None:
        if self.rotate and f.dim > LARGEST_BASIS:
            raise Inapplicable(
                f"rotation needs a basis of {f.dim} x {f.dim} an ant, built up to D = {LARGEST_BASIS}: use rotate=False"
            )
        rank = torch.arange(self.archive, dtype=torch.float64, device=f.device)
        weight = torch.exp(-(rank**2) / (2 * self.q**2 * self.archive**2))
        share = (weight.cumsum(0) / weight.sum()).to(f.dtype)  # (k,)

        x = f.start(self.archive)  # (B, k, D), from here on sorted by loss
        loss, x = best_first(f.value(x), x, self.archive)
        while True:
            # One member for the whole ant: a new draw a dimension would lose what the dimensions have in common.
            picked = torch.searchsorted(share, f.rand(self.ants), right=True).clamp(max=self.archive - 1)  # (B, m)
            centre = x.gather(1, picked[..., None].expand(-1, -1, f.dim))  # (B, m, D)
            ants = torch.stack([self._sample(f, x, centre[:, a]) for a in range(self.ants)], 1)  # (B, m, D)
            loss, x = best_first(torch.cat([loss, f.value(ants)], 1), torch.cat([x, ants], 1), self.archive)

    def _sample(self, f: Objective, x: Tensor, centre: Tensor) -> Tensor:
        """One ant a lane: (B, D) around the archive member `centre`, (B, D)."""
        step = f.randn(f.dim)  # (B, D)
        apart = x - centre[:, None]  # (B, k, D)
        if not self.rotate:
            return centre + self._deviation(apart) * step
        axes = basis(apart, f.rand(f.dim), f.randn(f.dim, f.dim))  # (B, D, D), a column an axis
        step = step * self._deviation(apart @ axes)
        return centre + (axes @ step[..., None]).squeeze(2)

    def _deviation(self, apart: Tensor) -> Tensor:
        """xi times the mean distance to the k - 1 other members along every axis: (B, k, D) -> (B, D)."""
        return self.xi / (self.archive - 1) * apart.abs().sum(1)


def best_first(loss: Tensor, x: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """The `keep` lowest of (B, n) losses with their points (B, n, D), best first, older first among equals."""
    order = loss.argsort(dim=1, stable=True)[:, :keep]
    return loss.gather(1, order), x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))


def basis(apart: Tensor, draws: Tensor, spare: Tensor) -> Tensor:
    """An orthonormal basis (B, D, D) along the archive, an axis a column (section 3.2 of the paper).

    Each axis points to a member drawn with probability proportional to its distance^4 in the subspace that is left.
    Where the archive spans fewer than D dimensions, random directions fill up.

    apart: (B, k, D) members relative to the ant's; draws: (B, D) uniform; spare: (B, D, D) normal.
    """
    axes: list[Tensor] = []
    scale = apart.norm(dim=2).amax(1)  # (B,)
    left = apart
    for i in range(apart.shape[2]):
        length = left.norm(dim=2)  # (B, k)
        chance = (length / scale[:, None].clamp(min=torch.finfo(apart.dtype).tiny)) ** 4
        spans = length.amax(1) > 1e-7 * scale  # (B,): what is left is more than rounding
        share = chance.cumsum(1)
        member = torch.searchsorted(share, draws[:, i, None] * share[:, -1:], right=True)
        member = member.clamp(max=apart.shape[1] - 1)  # (B, 1)
        toward = left.gather(1, member[..., None].expand(-1, -1, apart.shape[2])).squeeze(1)  # (B, D)
        toward = torch.where(spans[:, None], toward, spare[:, i])
        for _ in range(2):  # once more against rounding
            for axis in axes:
                toward = toward - (toward * axis).sum(1, keepdim=True) * axis
        axis = toward / toward.norm(dim=1, keepdim=True)
        axes.append(axis)
        left = left - (left @ axis[..., None]) * axis[:, None]
    return torch.stack(axes, 2)
