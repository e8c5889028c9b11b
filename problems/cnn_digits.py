"""A convolutional network on the 8x8 digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.mlp_digits import digits
from optbench.problems.shared import accuracy, measured_start

STARTS = {8: 2.30661}  # channels: start


@dataclass(frozen=True)
class CnnDigits(Problem):
    """Two convolutions, pooling and dropout on digits, cross-entropy; its training loss is random."""

    channels: int = 8  # after the first convolution; twice as many after the second
    dropout: float = 0.25  # share of the features silenced in training

    track = "supervised"
    loss_name = "cross-entropy"
    passes = 20.0
    batch = 128
    stochastic = True
    best = Best(0.0, "bound")
    taus = (0.5, 0.1)

    @property
    def start(self) -> float:
        return STARTS.get(self.channels) or measured_start(self)

    def network(self) -> nn.Module:
        c = self.channels
        return nn.Sequential(
            nn.Unflatten(1, (1, 8)),  # (N, 8, 8) -> (N, 1, 8, 8)
            nn.Conv2d(1, c, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, c, 4, 4)
            nn.Conv2d(c, 2 * c, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 2c, 2, 2)
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(8 * c, 10),
        )

    def data(self) -> Splits:
        """1258 / 269 / 270 pictures (N, 8, 8) of grey levels in [0, 1], labels 0 to 9."""
        return Splits(*((x.view(-1, 8, 8), y) for x, y in digits()))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.cross_entropy(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        return {"accuracy": accuracy(net(x), y)}
