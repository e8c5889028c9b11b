"""Denoising Fashion-MNIST with a small convolutional network that predicts the noise (Zhang et al. 2017, DnCNN)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits, generator
from optbench.problems.fashion import thumbnails
from optbench.problems.shared import measured_start

NOISE = 0.3  # standard deviation; pictures are in [0, 1]
STATED = {8: (0.091652, 0.0124656)}  # channels: start, best known (Adam with a cosine schedule, 300 passes)


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


@dataclass(frozen=True)
class DenoiseFashion(Problem):
    """Three convolutions that clean pictures of noise of deviation 0.3, MSE a pixel against the clean picture."""

    channels: int = 8

    track = "unsupervised"
    loss_name = "mse"
    passes = 30.0
    batch = 64
    taus = (0.5, 0.1)

    @property
    def start(self) -> float:
        known = STATED.get(self.channels)
        return known[0] if known else measured_start(self)

    @property
    def best(self) -> Best:
        known = STATED.get(self.channels)
        return Best(known[1], "best known") if known else Best(0.0, "bound")

    def network(self) -> nn.Module:
        return Denoiser(self.channels)

    def data(self) -> Splits:
        """1600 / 400 / 500 pairs (noisy, clean) of (N, 1, 14, 14); the noise is drawn once and kept."""
        stream = generator(0, "denoise_fashion")
        clean = [x.view(-1, 1, 14, 14) for x in thumbnails()]
        return Splits(*((x + NOISE * torch.randn(x.shape, generator=stream), x) for x in clean))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        noisy, clean = batch
        return F.mse_loss(net(noisy), clean)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """Peak signal-to-noise ratio in decibel."""
        noisy, clean = batch
        return {"psnr": -10 * F.mse_loss(net(noisy), clean).log10()}
