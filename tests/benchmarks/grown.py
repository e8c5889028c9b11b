"""What `bench_growth` runs: an optimizer that does nothing, and a network and data of any size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from optbench.core.losses import MSE
from optbench.core.problem import Problem, Splits


@dataclass(frozen=True)
class Noop:
    """Evaluates its start, once."""

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True

    def minimise(self, f: Any) -> None:
        f.value(f.start(1))


@dataclass(frozen=True)
class Grown(Problem):
    """Regression of noise by a network with one hidden layer."""

    samples: int = 1000
    hidden: int = 32

    track = "supervised"
    dtype = torch.float32
    stochastic = False
    vmaps = True
    objective_loss = MSE
    batch = 128
    start = 1.0
    bound = 0.0

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def data(self) -> Splits:
        stream = torch.Generator().manual_seed(0)
        return Splits((torch.randn(self.samples, 64, generator=stream), torch.randn(self.samples, 1, generator=stream)))
