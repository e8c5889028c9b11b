"""Synthetic atrophy on MRI: how severe it is (regression), and whether it is more than half (classification).

The pictures come from `atrophy_phantom.py`: one real template slice deformed by a simulated severity. They are not
patient data and support no clinical claim; `own_images.py` takes a table of real ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from optbench.core.losses import CROSS_ENTROPY, L1, MSE
from optbench.core.problem import Batch, Best, Problem, Splits, split
from optbench.problems.shared import arrays


def scanner_network(outputs: int, dropout: float, size: tuple[int, int]) -> nn.Sequential:
    """(N, 1, *size) -> (N, outputs): three convolutions with pooling, dropout, one linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16 * ((size[0] + 1) // 16) * ((size[1] + 1) // 16), outputs),
    )


@dataclass(frozen=True)
class MriSyntheticSeverity(Problem):
    """Simulated severity in [0, 1] from a synthetic 32x32 MRI slice: a CNN with dropout, L1."""

    dropout: float = 0.25

    track = "supervised"
    objective_loss = L1
    passes = 40.0
    batch = 64
    stochastic = True
    start = 0.490987
    best = Best(0.0430823, "best known")  # Adam, lr 0.003 with a cosine schedule, 600 passes
    taus = (0.5, 0.3)

    def network(self) -> nn.Module:
        return scanner_network(1, self.dropout, (32, 32))

    def data(self) -> Splits:
        """1050 / 225 / 225 pictures (N, 1, 32, 32), standardised on train; severities (N, 1)."""
        return Splits(*((x, severity[:, None]) for x, severity in _phantoms()))


@dataclass(frozen=True)
class MriSyntheticSeverityMse(MriSyntheticSeverity):
    """Simulated severity in [0, 1] from a synthetic 32x32 MRI slice: a CNN with dropout, MSE."""

    objective_loss = MSE
    start = 0.325321
    best = Best(0.00201326, "best known")  # the same
    taus = (0.4, 0.2)


@dataclass(frozen=True)
class MriSyntheticClass(Problem):
    """Simulated severity above one half, from a synthetic 32x32 MRI slice: a CNN with dropout, cross-entropy."""

    dropout: float = 0.25

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 40.0
    batch = 64
    stochastic = True
    start = 0.693564
    bound = 0.0
    taus = (0.8, 0.6)

    def network(self) -> nn.Module:
        return scanner_network(2, self.dropout, (32, 32))

    def data(self) -> Splits:
        """1050 / 225 / 225 pictures (N, 1, 32, 32), standardised on train; labels 0 or 1."""
        return Splits(*((x, (severity > 0.5).long()) for x, severity in _phantoms()))


@cache
def _phantoms() -> list[Batch]:
    archive = arrays("atrophy_phantom_1500x32.npz")
    x, severity = torch.as_tensor(archive["images"]).float().unsqueeze(1), torch.as_tensor(archive["severity"])
    parts = split(len(x))
    deviation, mean = torch.std_mean(x[parts[0]])
    return [((x[part] - mean) / deviation, severity[part]) for part in parts]
