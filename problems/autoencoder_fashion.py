"""An autoencoder on Fashion-MNIST: 196 pixels through 16 numbers and back (Hinton & Salakhutdinov 2006)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from optbench.core.losses import MSE
from optbench.core.problem import Batch, Known, Net, Problem, Splits
from optbench.problems.fashion import thumbnails

# (code, hidden): start, best known (Adam with a cosine schedule, 1000 passes)
STATED = {(16, 64): Known(0.198356, 0.0055125)}


@dataclass(frozen=True)
class AutoencoderFashion(Problem):
    """A 196-64-16-64-196 network that reproduces its picture, MSE a pixel."""

    code: int = 16  # numbers in the middle
    hidden: int = 64

    track = "unsupervised"
    objective_loss = MSE
    passes = 60.0
    bound = 0.0
    batch = 64
    taus = (0.9, 0.5, 0.1)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.code, self.hidden))

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
        return MSE(net(x), x)
