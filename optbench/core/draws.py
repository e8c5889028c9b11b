"""Random numbers of an optimizer, each lane from a generator of its own: so a lane draws what it would draw alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from optbench.core.problem import Problem, fresh, generator


class LaneDraws:
    """B generators, one a lane, keyed by its seed."""

    def __init__(self, problem: Problem, seeds: Sequence[int], device: str) -> None:
        self._problem, self._seeds, self._device = problem, seeds, device
        self._generators = [generator(seed, "optimizer", device) for seed in seeds]

    def start(self, points: int | None) -> Tensor:
        """(B, D), or (B, points, D): independent draws of the network's own initialisation."""
        lanes = []
        for seed in self._seeds:
            nets = fresh(self._problem, seed, points or 1)
            lanes.append(torch.stack([torch.cat([p.detach().reshape(-1) for p in net.parameters()]) for net in nets]))
        drawn = torch.stack(lanes).to(self._device)
        return drawn if points else drawn[:, 0]

    def numbers(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) numbers in the problem's type; draw: torch.rand, torch.randn or the like."""
        options = {"dtype": self._problem.dtype, "device": self._device}
        if len(self._generators) == 1:  # no copy of what is most of a swarm's step
            return draw(shape, generator=self._generators[0], **options)[None]
        return torch.stack([draw(shape, generator=g, **options) for g in self._generators])
