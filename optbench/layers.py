"""Hard activations with a straight-through gradient, for networks that problems and exact optimizers share."""

from __future__ import annotations

from torch import Tensor, nn


class Step(nn.Module):
    """H(z) = 1 where z >= 0, else 0. Its true gradient is zero everywhere, so the backward is a stand-in.

    Straight-through estimator (Bengio, Leonard & Courville 2013, arXiv:1308.3432), saturated as in Hubara et al.
    (2016, arXiv:1602.02830): backward as if it were clamp(z, -1, 1) / 2, a ramp with the same rise. The forward is
    exact: what is added is a zero. NaN stays NaN, so a diverged network cannot pass for a finite one.
    """

    def forward(self, z: Tensor) -> Tensor:
        ramp = z.clamp(-1, 1) / 2
        return (z >= 0).to(z.dtype) + (ramp - ramp.detach())


class Sign(nn.Module):
    """+1 where z >= 0, else -1 (never 0, unlike torch.sign). Backward as if it were clamp(z, -1, 1), see `Step`."""

    def forward(self, z: Tensor) -> Tensor:
        ramp = z.clamp(-1, 1)
        return (z >= 0).to(z.dtype) * 2 - 1 + (ramp - ramp.detach())
