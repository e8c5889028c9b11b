"""The networks of DeepOBS's test problems (Schneider, Balles & Hennig 2019, arXiv:1903.05499), layer for layer.

Padding "same" is TensorFlow's, on which the problems were defined: what cannot be shared evenly goes behind. Networks
with a weight penalty append it to their outputs as a column, since a loss may only call the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.problems.augmentation import standardised

SLOPE = 0.3  # of the VAE's leaky units
CODE = 8  # latent numbers of the VAE


class Same(nn.Module):
    """Pads (N, C, H, W) as TensorFlow's "same" does for a kernel and stride."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = (max((-(-n // self.stride) - 1) * self.stride + self.kernel - n, 0) for n in x.shape[-2:])
        return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def same(layer: nn.Conv2d | nn.MaxPool2d) -> nn.Sequential:
    """A layer behind its padding."""
    kernel, stride = (size if isinstance(size, int) else size[0] for size in (layer.kernel_size, layer.stride))
    return nn.Sequential(Same(kernel, stride), layer)


class Penalised(nn.Module):
    """(N, C, H, W) -> (N, classes + 1): the body's scores of standardised pictures, and half the squared weights;
    biases and norms are left out.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        scores = self.body(standardised(x))
        weights = [p for p in self.parameters() if p.ndim > 1]
        penalty = 0.5 * torch.stack([p.square().sum() for p in weights]).sum()
        return torch.cat([scores, penalty.expand(len(scores), 1)], dim=1)


class Mean(nn.Module):
    """(N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def two_conv_two_dense(channels: int, side: int, classes: int) -> nn.Module:
    """2c2d: truncated normal weights of deviation 0.05, biases 0.05."""
    net = nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (side // 4) ** 2, 1024),
        nn.ReLU(),
        nn.Linear(1024, classes),
    )
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.05, a=-0.1, b=0.1)
            _constant(layer.bias, 0.05)
    return net


def three_conv_three_dense(classes: int) -> nn.Module:
    """3c3d for 32x32 pictures in colour: Glorot's initialisation."""
    net = nn.Sequential(
        nn.Conv2d(3, 64, 5),  # 28x28
        nn.ReLU(),
        same(nn.MaxPool2d(3, 2)),  # 14x14
        nn.Conv2d(64, 96, 3),  # 12x12
        nn.ReLU(),
        same(nn.MaxPool2d(3, 2)),  # 6x6
        nn.Conv2d(96, 128, 3, padding=1),
        nn.ReLU(),
        same(nn.MaxPool2d(3, 2)),  # 3x3
        nn.Flatten(),
        nn.Linear(1152, 512),
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )
    return Penalised(_glorot(net, 0.0))


def all_conv(classes: int) -> nn.Module:
    """All-CNN-C (Springenberg et al. 2015): no pooling and no dense layer."""
    layers: list[nn.Module] = [nn.Dropout(0.2)]
    for dropout, inputs, outputs in ((0.0, 3, 96), (0.5, 96, 192)):
        layers += [nn.Dropout(dropout)] if dropout else []
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()]
        layers += [same(nn.Conv2d(outputs, outputs, 3, stride=2)), nn.ReLU()]
    layers += [nn.Dropout(0.5), nn.Conv2d(192, 192, 3), nn.ReLU(), nn.Conv2d(192, 192, 1), nn.ReLU()]
    layers += [nn.Conv2d(192, classes, 1), nn.ReLU(), Mean()]
    return Penalised(_glorot(nn.Sequential(*layers), 0.1))


class Residual(nn.Module):
    """Two convolutions behind norms, added to what came in (He et al. 2016b)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.short = None if inputs == outputs and stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.conv1 = same(nn.Conv2d(inputs, outputs, 3, stride, bias=False))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.norm1(x))
        skipped = x if self.short is None else self.short(first)
        out: Tensor = self.conv2(F.relu(self.norm2(self.conv1(first)))) + skipped
        return out


def wide_residual(depth: int, widening: int, classes: int, channels: int = 3, penalised: bool = True) -> nn.Module:
    """WRN-depth-widening (Zagoruyko & Komodakis 2016); depth is 6 n + 4. The skip behind a norm starts each group."""
    blocks = (depth - 4) // 6
    widths = (16, 16 * widening, 32 * widening, 64 * widening)
    layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1, bias=False)]
    for group in range(3):
        layers.append(Residual(widths[group], widths[group + 1], 1 if group == 0 else 2))
        layers += [Residual(widths[group + 1], widths[group + 1], 1) for _ in range(blocks - 1)]
    layers += [nn.BatchNorm2d(widths[3]), nn.ReLU(), Mean(), nn.Linear(widths[3], classes)]
    net = nn.Sequential(*layers)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            _constant(layer.bias, 0.0)
    return Penalised(net) if penalised else net


class ConvVae(nn.Module):
    """(N, 1, 28, 28), (N, CODE) -> (N, 784 + 2 CODE): pixels, then mean and log deviation of the code.

    In training the code's noise is drawn anew; in evaluation it is the one that comes with the data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 64, 4, 2, padding=1),  # 14x14
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.2),
            nn.Conv2d(64, 64, 4, 2, padding=1),  # 7x7
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.2),
            same(nn.Conv2d(64, 64, 4)),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(0.2),
            nn.Flatten(),
        )
        self.mean, self.log_deviation = nn.Linear(3136, CODE), nn.Linear(3136, CODE)
        self.widen = nn.Sequential(nn.Linear(CODE, 24), nn.LeakyReLU(SLOPE), nn.Linear(24, 49), nn.LeakyReLU(SLOPE))
        self.up1 = nn.ConvTranspose2d(1, 64, 4, 2, padding=1)  # 14x14
        self.up2, self.up3 = nn.ConvTranspose2d(64, 64, 4), nn.ConvTranspose2d(64, 64, 4)
        self.dropout = nn.Dropout(0.2)
        self.pixels = nn.Linear(12544, 784)
        _glorot(self, 0.0, uniform=True)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        seen = self.encoder(x)
        mean, log_deviation = self.mean(seen), 0.5 * self.log_deviation(seen)
        if self.training:
            noise = torch.randn_like(mean)
        x = self.widen(mean + noise * log_deviation.exp()).view(-1, 1, 7, 7)
        x = self.dropout(F.relu(self.up1(x)))
        for layer in (self.up2, self.up3):
            x = self.dropout(F.relu(layer(x)[:, :, 1:-2, 1:-2]))  # the gradient of "same" pads one before, two behind
        pixels = self.pixels(x.flatten(1)).sigmoid()
        return torch.cat([pixels, mean, log_deviation], dim=1)


class CharRnn(nn.Module):
    """(N, T) characters -> (N, T, symbols): two LSTM layers with dropout between them, as nn.LSTM computes them.

    Written out, since neither torch.vmap nor the count of FLOPs sees into nn.LSTM. The state begins at 0 in a window.
    """

    def __init__(self, symbols: int, units: int, layers: int = 2) -> None:
        super().__init__()
        self.symbol = nn.Embedding(symbols, units)
        self.inputs = nn.ModuleList(nn.Linear(units, 4 * units) for _ in range(layers))
        self.states = nn.ModuleList(nn.Linear(units, 4 * units) for _ in range(layers))
        self.dropout, self.head = nn.Dropout(0.2), nn.Linear(units, symbols)

    def forward(self, x: Tensor) -> Tensor:
        x = self.symbol(x)
        for number, (inputs, states) in enumerate(zip(self.inputs, self.states, strict=True)):
            drive, steps = inputs(self.dropout(x) if number else x), []
            state = cell = torch.zeros_like(x[:, 0])
            for now in drive.unbind(1):
                enter, forget, new, leave = (now + states(state)).chunk(4, dim=-1)
                cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
                state = leave.sigmoid() * cell.tanh()
                steps.append(state)
            x = torch.stack(steps, 1)
        scores: Tensor = self.head(x)
        return scores


def _glorot(net: nn.Module, bias: float, uniform: bool = False) -> nn.Module:
    """Glorot & Bengio (2010): normal for convolutions unless `uniform`, uniform for dense layers."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not uniform:
            nn.init.xavier_normal_(layer.weight)
            _constant(layer.bias, bias)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            _constant(layer.bias, bias)
    return net


def _constant(bias: Tensor | None, value: float) -> None:
    if bias is not None:
        nn.init.constant_(bias, value)
