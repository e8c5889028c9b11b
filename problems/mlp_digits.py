"""A multi-layer perceptron on the 8x8 digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits, split
from optbench.problems.shared import accuracy, measured_start

STARTS = {32: 2.315}  # hidden width: start


@dataclass(frozen=True)
class MlpDigits(Problem):
    """A 64-32-10 ReLU network on digits, cross-entropy; more parameters than samples."""

    hidden: int = 32  # units in the hidden layer

    track = "supervised"
    loss_name = "cross-entropy"
    passes = 200.0
    batch = 128
    best = Best(0.0, "bound")

    @property
    def start(self) -> float:
        return STARTS.get(self.hidden) or measured_start(self)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))

    def data(self) -> Splits:
        return Splits(*digits())

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.cross_entropy(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        return {"accuracy": accuracy(net(x), y)}


@cache
def digits() -> list[Batch]:
    """1258 / 269 / 270 pictures as rows (N, 64) of grey levels in [0, 1], labels 0 to 9."""
    table = load_digits()
    x, y = torch.as_tensor(table.data / 16, dtype=torch.float32), torch.as_tensor(table.target)
    return [(x[part], y[part]) for part in split(len(x))]
