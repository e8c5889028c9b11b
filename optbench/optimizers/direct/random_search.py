"""Random search, the floor: points drawn from where the networks start, none of them learning from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optbench.core.objective import Objective
from optbench.optimizers.checks import check_count, check_positive


@dataclass(frozen=True)
class RandomSearch:
    """The best of independent draws (Anderson 1953).

    The first `points` draws are networks as they initialise themselves. Every later one is normal with their mean and
    their spread in each parameter, so it needs no network to be built and keeps what initialisation holds fixed.
    """

    points: int = 32  # draws evaluated together, and initial networks that set the mean and the spread
    scale: float = 1.0  # times the spread of the initial networks

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    full_batch: ClassVar[bool] = True  # the best draw is the method's only memory: its loss must be comparable

    def __post_init__(self) -> None:
        check_count("points", self.points, 2)
        check_positive("scale", self.scale)

    def minimise(self, f: Objective) -> None:
        x = f.start(self.points)  # (B, P, D)
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)  # (B, 1, D)
        while True:
            f.value(x)
            x = mean + self.scale * spread * f.randn(self.points, f.dim)
