"""A variational autoencoder on Fashion-MNIST (Kingma & Welling 2014, arXiv:1312.6114)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Known, Net, Problem, Splits, generator
from optbench.problems.fashion import thumbnails

STATED = {(8, 64): Known(137.541, 69.5615)}  # (code, hidden): start, best known (L-BFGS, 1000 passes)


class Vae(nn.Module):
    """(N, 196), (N, code) -> (N, 196 + 2 code): logits of the pixels, then mean and log variance of the code.

    In training the code's noise is drawn anew; in evaluation it is the one that comes with the data, so that a score
    is an unbiased estimate and always the same.
    """

    def __init__(self, code: int, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(196, hidden), nn.ReLU(), nn.Linear(hidden, 2 * code))
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, 196))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        latent = self.encoder(x)
        mean, log_variance = latent.chunk(2, dim=1)
        if self.training:
            noise = torch.randn_like(mean)
        return torch.cat([self.decoder(mean + noise * (log_variance / 2).exp()), latent], dim=1)


@dataclass(frozen=True)
class VaeFashion(Problem):
    """A VAE with 8 latent numbers; the loss is the negative evidence bound in nats a picture, Bernoulli pixels."""

    code: int = 8  # latent numbers
    hidden: int = 64

    track = "unsupervised"
    loss_name = "elbo"
    passes = 60.0
    bound = 0.0
    batch = 64
    stochastic = True
    taus = (0.5, 0.1)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.code, self.hidden))

    def network(self) -> nn.Module:
        return Vae(self.code, self.hidden)

    def data(self) -> Splits:
        """1600 / 400 / 500 pictures (N, 196), each with the code noise (N, code) of its evaluation."""
        stream = generator(0, "vae_fashion")
        return Splits(*((x, torch.randn(len(x), self.code, generator=stream)) for x in thumbnails()))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        reconstruction, divergence = self._terms(net, batch)
        return reconstruction + divergence

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        """The two terms of the loss, in nats a picture."""
        reconstruction, divergence = self._terms(net, batch)
        return {"reconstruction": reconstruction, "divergence": divergence}

    def _terms(self, net: Net, batch: Batch) -> tuple[Tensor, Tensor]:
        x, noise = batch
        logits, mean, log_variance = net(x, noise).tensor_split((196, 196 + self.code), dim=1)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return reconstruction, divergence
