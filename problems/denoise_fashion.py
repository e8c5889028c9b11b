"""Denoising Fashion-MNIST with a small convolutional network that predicts the noise (Zhang et al. 2017, DnCNN)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.losses import MSE
from optbench.core.problem import Known, Problem, Splits, generator
from optbench.problems.fashion import thumbnails

NOISE = 0.3  # standard deviation; pictures are in [0, 1]
STATED = {8: Known(0.091652, 0.0124656)}  # channels: start, best known (Adam with a cosine schedule, 300 passes)


class Denoiser(nn.Module):
    """(N, 1, 14, 14) -> the picture less what three convolutions take for noise."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.noise = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        clean: Tensor = x - self.noise(x)
        return clean


def psnr(restored: Tensor, clean: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibel."""
    return -10 * MSE(restored, clean).log10()


@dataclass(frozen=True)
class DenoiseFashion(Problem):
    """Three convolutions that clean pictures of noise of deviation 0.3, MSE a pixel against the clean picture."""

    channels: int = 8

    track = "unsupervised"
    objective_loss = MSE.with_metrics(psnr=psnr)
    passes = 30.0
    bound = 0.0
    batch = 64
    taus = (0.5, 0.1)

    @property
    def known(self) -> Known | None:
        return STATED.get(self.channels)

    def network(self) -> nn.Module:
        return Denoiser(self.channels)

    def data(self) -> Splits:
        """1600 / 400 / 500 pairs (noisy, clean) of (N, 1, 14, 14); the noise is drawn once and kept."""
        stream = generator(0, "denoise_fashion")
        clean = [x.view(-1, 1, 14, 14) for x in thumbnails()]
        return Splits(*((x + NOISE * torch.randn(x.shape, generator=stream), x) for x in clean))
