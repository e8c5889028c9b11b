"""Ant colony for continuous domains: ACO_R of Socha & Dorigo (2008), with its optional rotation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.checks import check, check_count, check_positive
from optbench.optimizers.swarm.particle_swarm import MAX_PART, best_of

MAX_BASIS_DIM = 1_000  # dimensions up to which the rotation's D x D basis is built for every ant


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
        if self.rotate and f.dim > MAX_BASIS_DIM:
            raise Inapplicable(
                f"rotation needs a basis of {f.dim} x {f.dim} an ant, built up to D = {MAX_BASIS_DIM}: use rotate=False"
            )
        rank = torch.arange(self.archive, dtype=torch.float64, device=f.device)
        weight = torch.exp(-(rank**2) / (2 * self.q**2 * self.archive**2))
        share = (weight.cumsum(0) / weight.sum()).to(f.dtype)  # (k,)

        k = self.archive
        archive = Archive(f.start(k), self.ants)
        archive.loss[:, :k] = f.value(archive.x)
        while True:
            archive.sort()
            # One member for the whole ant: a new draw a dimension would lose what the dimensions have in common.
            picked = torch.searchsorted(share, f.rand(self.ants), right=True).clamp(max=k - 1)  # (B, m)
            centre = best_of(archive.x, picked)  # (B, m, D)
            for a in range(self.ants):
                archive.ants[:, a] = self._sample(f, archive.x, centre[:, a])
            archive.loss[:, k:] = f.value(archive.ants)

    def _sample(self, f: Objective, x: Tensor, centre: Tensor) -> Tensor:
        """One ant a lane: (B, D) around the archive member `centre`, (B, D)."""
        step = f.randn(f.dim)  # (B, D)
        if not self.rotate:
            return step.mul_(self._deviation(x, centre)).add_(centre)
        apart = x - centre[:, None]  # (B, k, D)
        axes = basis(apart, f.rand(f.dim), f.randn(f.dim, f.dim))  # (B, D, D), a column an axis
        step = step * self._deviation(apart @ axes, torch.zeros_like(centre))
        return centre + (axes @ step[..., None]).squeeze(2)

    def _deviation(self, x: Tensor, centre: Tensor) -> Tensor:
        """xi times the mean distance of `centre` (B, D) to the k - 1 other members of (B, k, D) along every axis."""
        most = max(1, (MAX_PART if x.device.type == "cpu" else 256 * MAX_PART) // self.archive)
        parts = zip(x.split(most, 2), centre[:, None].split(most, 2), strict=True)
        return torch.cat([(x - c).abs_().sum(1) for x, c in parts], 1).mul_(self.xi / (self.archive - 1))


class Archive:
    """k solutions and space for m ants behind them, (B, k + m, D), in memory that is asked for once."""

    def __init__(self, x: Tensor, ants: int) -> None:
        """x: (B, k, D), whose losses are yet to come."""
        lanes, self._keep, dim = x.shape
        self._all, self._spare = (x.new_empty(lanes, self._keep + ants, dim) for _ in range(2))
        self._first = torch.arange(lanes, device=x.device)[:, None] * (self._keep + ants)  # of each lane, as one list
        self.loss = x.new_full((lanes, self._keep + ants), math.inf)
        self.x.copy_(x)

    @property
    def x(self) -> Tensor:
        """(B, k, D), the best first once sorted."""
        return self._all[:, : self._keep]

    @property
    def ants(self) -> Tensor:
        """(B, m, D), to be written."""
        return self._all[:, self._keep :]

    def sort(self) -> None:
        """The lowest losses first, older first among equals, so that the m worst of all lie where ants will be."""
        order = self.loss.argsort(dim=1, stable=True)
        self.loss = self.loss.gather(1, order)
        rows = (order + self._first).flatten()
        torch.index_select(self._all.flatten(0, 1), 0, rows, out=self._spare.flatten(0, 1))
        self._all, self._spare = self._spare, self._all


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
