"""A table of your own images and labels as a problem: a CNN for classification, or for regression in L1.

`own_images_class[table=scans.csv,classes=3]`, `own_images_regression[table=scans.csv]`. The table is a CSV file with
the columns image,label and maybe split; `image_table.py` says what they hold and refuses what they may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.image_table import load
from optbench.problems.mri_synthetic import scanner_network
from optbench.problems.shared import accuracy, measured_start


@dataclass(frozen=True)
class OwnImagesRegression(Problem):
    """A number from a user's own images: a CNN with dropout, L1; the table says which."""

    table: str = ""  # a CSV file
    dropout: float = 0.25

    track = "supervised"
    loss_name = "l1"
    passes = 60.0
    batch = 32
    stochastic = True
    best = Best(0.0, "bound")

    @property
    def start(self) -> float:
        return measured_start(self)

    def network(self) -> nn.Module:
        return self._network(1)

    def data(self) -> Splits:
        """Images (N, 1, H, W), standardised on train; labels (N, 1)."""
        splits = load(self.table, None)
        return Splits(*((x, y[:, None].float()) for x, y in splits))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.l1_loss(net(x), y)

    def _network(self, outputs: int) -> nn.Module:
        height, width = self.data().train[0].shape[-2:]
        return scanner_network(outputs, self.dropout, (height, width))


@dataclass(frozen=True)
class OwnImagesClass(OwnImagesRegression):
    """A class from a user's own images: a CNN with dropout, cross-entropy; the table says which."""

    classes: int = 2  # labels are 0 to classes - 1

    loss_name = "cross-entropy"

    def network(self) -> nn.Module:
        return self._network(self.classes)

    def data(self) -> Splits:
        """Images (N, 1, H, W), standardised on train; labels (N,)."""
        return Splits(*((x, y.long()) for x, y in load(self.table, self.classes)))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.cross_entropy(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        return {"accuracy": accuracy(net(x), y)}
