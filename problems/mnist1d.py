"""MNIST-1D (Greydanus & Kobak 2024, arXiv:2011.14439): ten templates, padded, moved, scaled, sheared and made noisy.

Generated with the draws of the authors' code, seed 42, so the data are theirs: 4,000 training and 1,000 test signals of
40 numbers. 800 of the training signals are held out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Known, Problem, Splits, split
from optbench.problems.shared import stated

Array = NDArray[Any]

TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
SAMPLES, TRAIN, LENGTH = 5000, 4000, 40
PADDING = (36, 60)  # numbers added behind a template of 12
STATED = {"mlp": Known(2.31006), "cnn": Known(2.30249)}  # network: start


class Channel(nn.Module):
    """(N, 40) -> (N, 1, 40)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-2)


@dataclass(frozen=True)
class Mnist1d(Problem):
    """Ten kinds of signal of 40 numbers (3200 / 800 / 1000), cross-entropy: 40-100-100-10, or three convolutions."""

    net: str = "mlp"  # or cnn

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 150.0
    batch = 100
    bound = 0.0

    def __post_init__(self) -> None:
        stated("mnist1d: net", self.net, STATED)

    @property
    def known(self) -> Known | None:
        return STATED[self.net]

    def network(self) -> nn.Module:
        if self.net == "mlp":
            return nn.Sequential(nn.Linear(LENGTH, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10))
        return nn.Sequential(
            Channel(),
            nn.Conv1d(1, 25, 5, stride=2, padding=1),  # (N, 25, 19)
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),  # (N, 25, 10)
            nn.ReLU(),
            nn.Conv1d(25, 25, 3, stride=2, padding=1),  # (N, 25, 5)
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(125, 10),
        )

    def data(self) -> Splits:
        return _data()


@cache
def _data() -> Splits:
    x, y = generate()
    kept, held = split(TRAIN, (0.8, 0.2))
    return Splits((x[kept], y[kept]), (x[held], y[held]), (x[TRAIN:], y[TRAIN:]))


def generate(seed: int = 42) -> tuple[Tensor, Tensor]:
    """All signals (5000, 40), of mean 0 and deviation 1, and their kinds (5000,), in the authors' order."""
    rng = np.random.RandomState(seed)
    shapes = np.array(TEMPLATES)
    shapes = shapes - shapes.mean(1, keepdims=True)
    shapes = shapes / shapes.std(1, keepdims=True)
    shapes = (shapes - shapes[:, :1]) / 6  # a signal begins at 0
    each = SAMPLES // len(shapes)
    signals = np.stack([_signal(shape, rng) for shape in shapes for _ in range(each)])
    order = rng.permutation(SAMPLES)
    signals = signals[order]
    signals = (signals - signals.mean()) / signals.std()
    kinds = np.repeat(np.arange(len(shapes)), each)[order]
    return torch.as_tensor(signals, dtype=torch.float32), torch.as_tensor(kinds)


def _signal(shape: Array, rng: np.random.RandomState) -> Array:
    """A template (12,) as a signal (40,); the draws are in the authors' order."""
    low, high = PADDING
    padded = np.concatenate([shape + 1e-8, np.zeros(low + int(rng.rand() * (high - low + 1)))])
    x = _resampled(padded, len(shape) + high)
    x = x * (1 + 0.4 * (rng.rand() - 0.5))
    moved = rng.choice(48)
    x = np.concatenate([x[-moved:], x[:-moved]])
    x = np.where(x != 0, x, gaussian_filter(0.25 * rng.randn(*x.shape), 2))
    x = x + 2e-2 * rng.randn(*x.shape)
    x = x - 0.75 * (rng.rand() - 0.5) * np.linspace(-0.5, 0.5, len(x))
    return _resampled(x, LENGTH)


def _resampled(x: Array, count: int) -> Array:
    return np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(x)), x)
