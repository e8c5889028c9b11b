"""A multi-layer perceptron on the 8x8 digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Batch, Known, Problem, Splits, split
from optbench.problems.sklearn_tables import sklearn_table

STATED = {32: Known(2.315)}  # hidden width: start


@dataclass(frozen=True)
class MlpDigits(Problem):
    """A 64-32-10 ReLU network on digits, cross-entropy; more parameters than samples."""

    hidden: int = 32  # units in the hidden layer

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 200.0
    batch = 128
    bound = 0.0
    taus = (0.9, 0.5, 0.1, 1e-2)  # half of the optimizers come no further than the first

    @property
    def known(self) -> Known | None:
        return STATED.get(self.hidden)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(64, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 10))

    def data(self) -> Splits:
        return Splits(*digits())


@cache
def digits() -> list[Batch]:
    """1258 / 269 / 270 pictures as rows (N, 64) of grey levels in [0, 1], labels 0 to 9."""
    pixels, labels = sklearn_table("digits")
    x, y = torch.as_tensor(pixels / 16, dtype=torch.float32), torch.as_tensor(labels)
    return [(x[part], y[part]) for part in split(len(x))]
