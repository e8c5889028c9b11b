"""An autoencoder on Fashion-MNIST: 196 pixels through 16 numbers and back (Hinton & Salakhutdinov 2006)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.fashion import thumbnails
from optbench.problems.shared import measured_start

# (code, hidden): start, best known (Adam with a cosine schedule, 1000 passes)
STATED = {(16, 64): (0.198356, 0.0055125)}


@dataclass(frozen=True)
class AutoencoderFashion(Problem):
    """A 196-64-16-64-196 network that reproduces its picture, MSE a pixel."""

    code: int = 16  # numbers in the middle
    hidden: int = 64

    track = "unsupervised"
    loss_name = "mse"
    passes = 60.0
    batch = 64
    taus = (0.5, 0.1)

    @property
    def start(self) -> float:
        known = STATED.get((self.code, self.hidden))
        return known[0] if known else measured_start(self)

    @property
    def best(self) -> Best:
        known = STATED.get((self.code, self.hidden))
        return Best(known[1], "best known") if known else Best(0.0, "bound")

    def network(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(196, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.code),
            nn.Linear(self.code, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, 196),
        )

    def data(self) -> Splits:
        """1600 / 400 / 500 pictures (N, 196)."""
        return Splits(*((x,) for x in thumbnails()))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        (x,) = batch
        return F.mse_loss(net(x), x)
