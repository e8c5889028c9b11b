"""Pictures in colour as DeepOBS varies them in training: another window, a mirror, other light; then standardised.

Schneider, Balles & Hennig 2019, deepobs/tensorflow/datasets/cifar10.py and svhn.py; TensorFlow's `tf.image` says what
each step computes. Pixels are in [0, 1] here and in [0, 255] there, where DeepOBS adds up to 63 / 255 to them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 6  # that a picture's variation takes: window down and right, mirror, brightness, saturation, contrast
MARGIN = 2  # black pixels on every side, in which a window of the picture's own size is taken
BRIGHTER = 63 / 255 / 255
SATURATION, CONTRAST = (0.5, 1.5), (0.2, 1.8)


def varied(x: Tensor, draws: Tensor, mirrors: bool) -> Tensor:
    """Pictures (n, 3, S, S) in [0, 1], each varied by its own draws (n, DRAWS), uniform in [0, 1).

    mirrors: half of them are turned left to right.
    """
    down, right, mirror, light, colour, contrast = draws.unbind(1)
    x = _windows(x, (down * (2 * MARGIN + 1)).long(), (right * (2 * MARGIN + 1)).long(), (mirror < 0.5) & mirrors)
    x = x + _between(light, -BRIGHTER, BRIGHTER)
    x = _saturated(x, _between(colour, *SATURATION))
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * _between(contrast, *CONTRAST) + mean


def standardised(x: Tensor) -> Tensor:
    """Every picture of (n, C, S, S) at mean 0 and deviation 1; an even one at 0."""
    deviation, mean = torch.std_mean(x, (1, 2, 3), correction=0, keepdim=True)
    return (x - mean) / deviation.clamp(min=1 / 255 / x[0].numel() ** 0.5)


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    """(n,) uniform in [0, 1) -> (n, 1, 1, 1) uniform in [low, high)."""
    return (low + (high - low) * draws).view(-1, 1, 1, 1)


def _windows(x: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Windows that begin at pixels (down, right) of the padded picture, each (n,); mirrored: bool (n,)."""
    count, channels, side = x.shape[:3]
    along = torch.arange(side, device=x.device)
    columns = torch.where(mirrored[:, None], side - 1 - along, along) + right[:, None]  # (n, S)
    rows = along + down[:, None]
    padded = F.pad(x, (MARGIN,) * 4)
    each, every = torch.arange(count, device=x.device), torch.arange(channels, device=x.device)
    return padded[each[:, None, None, None], every[:, None, None], rows[:, None, :, None], columns[:, None, None, :]]


def _saturated(x: Tensor, factor: Tensor) -> Tensor:
    """Saturation, in HSV, times a factor and at most 1; hue and value stay."""
    value, lowest = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    most = value / (value - lowest).clamp(min=1e-12)  # at which the lowest channel is 0
    return torch.where(value > 0, value - (value - x) * torch.minimum(factor, most), x)
