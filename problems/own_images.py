"""A table of your own images and labels as a problem: a CNN for classification, or for regression in L1.

`own_images_class[table=scans.csv,classes=3]`, `own_images_regression[table=scans.csv]`. The table is a CSV file with
the columns image,label and maybe split; `image_table.py` says what they hold and refuses what they may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from optbench.core.losses import CROSS_ENTROPY, L1
from optbench.core.problem import Problem, Splits
from optbench.problems.image_table import files, load
from optbench.problems.mri_synthetic import scanner_network


@dataclass(frozen=True)
class OwnImagesRegression(Problem):
    """A number from a user's own images: a CNN with dropout, L1; the table says which."""

    table: str = ""  # a CSV file
    dropout: float = 0.25

    track = "supervised"
    objective_loss = L1
    passes = 60.0
    batch = 32
    stochastic = True
    bound = 0.0

    def network(self) -> nn.Module:
        return self._network(1)

    def data(self) -> Splits:
        """Images (N, 1, H, W), standardised on train; labels (N, 1)."""
        splits = load(self.table, None)
        return Splits(*((x, y[:, None].float()) for x, y in splits))

    @property
    def data_files(self) -> tuple[Path, ...]:
        return files(self.table)

    def _network(self, outputs: int) -> nn.Module:
        height, width = self.data().train[0].shape[-2:]
        return scanner_network(outputs, self.dropout, (height, width))


@dataclass(frozen=True)
class OwnImagesClass(OwnImagesRegression):
    """A class from a user's own images: a CNN with dropout, cross-entropy; the table says which."""

    classes: int = 2  # labels are 0 to classes - 1

    objective_loss = CROSS_ENTROPY

    def network(self) -> nn.Module:
        return self._network(self.classes)

    def data(self) -> Splits:
        """Images (N, 1, H, W), standardised on train; labels (N,)."""
        return Splits(*((x, y.long()) for x, y in load(self.table, self.classes)))
