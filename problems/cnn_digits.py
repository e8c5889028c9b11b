"""A convolutional network on the 8x8 digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Known, Problem, Splits
from optbench.problems.mlp_digits import digits

STATED = {8: Known(2.30661)}  # channels: start


@dataclass(frozen=True)
class CnnDigits(Problem):
    """Two convolutions, pooling and dropout on digits, cross-entropy; its training loss is random."""

    channels: int = 8  # after the first convolution; twice as many after the second
    dropout: float = 0.25  # share of the features silenced in training

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 20.0
    batch = 128
    stochastic = True
    bound = 0.0
    taus = (0.95, 0.5, 0.1)

    @property
    def known(self) -> Known | None:
        return STATED.get(self.channels)

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
