"""DeepOBS's deep test problems (Schneider, Balles & Hennig 2019) on the data that OPTBENCH_DATA names.

The eighth, quadratic_deep, has a file of its own. Networks, losses, weight penalties, minibatches and the variation of
pictures in training are DeepOBS's. What differs is in docs/decisions/deepobs.md: validation data are held out of
training data, training losses are of pictures as they are, and the state of the LSTM begins at 0 in every window. Its
budgets in epochs are three passes each: a forward and a backward, which costs two.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from optbench.core.losses import CROSS_ENTROPY, Loss, accuracy
from optbench.core.problem import Batch, Net, Problem, Splits, generator
from optbench.problems import data_files
from optbench.problems import deepobs_networks as networks
from optbench.problems.augmentation import DRAWS, varied
from optbench.problems.shakespeare import NEXT_SYMBOL
from optbench.problems.standard_data import SYMBOLS, OnPictures, characters

GREY, COLOUR = ("mnist", "fmnist", "fashion"), ("cifar10", "cifar100", "svhn")


def _penalised(factor: float) -> Loss:
    """Cross-entropy and a penalty, of outputs whose last column is half the squared weights."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return CROSS_ENTROPY(outputs[:, :-1], labels) + factor * outputs[:, -1].mean()

    def right(outputs: Tensor, labels: Tensor) -> Tensor:
        return accuracy(outputs[:, :-1], labels)

    return Loss("cross-entropy", loss, (("accuracy", right),))


@dataclass(frozen=True)
class TwoConvTwoDense(OnPictures):
    """2c2d: two convolutions and two dense layers, 3,274,634 parameters on pictures of 28x28; cross-entropy."""

    data_set: str = "fmnist"  # or mnist, or fashion: the subset in the package

    name, takes = "2c2d", GREY
    passes = 300.0

    def network(self) -> nn.Module:
        return networks.two_conv_two_dense(self.channels, self.side, self.classes)


@dataclass(frozen=True)
class ThreeConvThreeDense(OnPictures):
    """3c3d: three convolutions and three dense layers, 895,210 parameters for ten classes; weight penalty 0.002."""

    data_set: str = "cifar10"  # or cifar100, svhn

    name, takes = "3c3d", COLOUR
    objective_loss = _penalised(0.002)
    passes = 300.0
    variation = DRAWS

    def network(self) -> nn.Module:
        return networks.three_conv_three_dense(self.classes)

    def varied(self, batch: Batch, numbers: Tensor) -> Batch:
        """Another window and other light; pictures of CIFAR also mirrored."""
        x, y = batch
        return varied(x, numbers, mirrors=self.data_set != "svhn"), y


@dataclass(frozen=True)
class AllConv(ThreeConvThreeDense):
    """All-CNN-C: nine convolutions, 1,387,108 parameters for 100 classes; dropout, weight penalty 0.0005."""

    data_set: str = "cifar100"

    objective_loss = _penalised(0.0005)
    passes = 1050.0
    batch = 256
    stochastic = True

    def network(self) -> nn.Module:
        return networks.all_conv(self.classes)


@dataclass(frozen=True)
class WideResNet(ThreeConvThreeDense):
    """Wide-ResNet 16-4: 2.7 million parameters, batch normalisation; weight penalty 0.0005."""

    data_set: str = "svhn"

    objective_loss = _penalised(0.0005)
    passes = 480.0
    batch = 128

    def network(self) -> nn.Module:
        return networks.wide_residual(16, 4, self.classes)


@dataclass(frozen=True)
class ConvolutionalVae(OnPictures):
    """A convolutional VAE with 8 latent numbers; squared error of the pixels and the code's divergence, per picture."""

    data_set: str = "mnist"  # or fmnist, or fashion: the subset in the package

    name, takes = "vae", GREY
    track = "unsupervised"
    objective_loss = None
    loss_name = "elbo"
    passes = 150.0
    batch = 64
    stochastic = True

    def network(self) -> nn.Module:
        return networks.ConvVae()

    def data(self) -> Splits:
        """Pictures (N, 1, 28, 28), each with the code noise (N, 8) of its evaluation."""
        stream = generator(0, "deepobs vae")
        parts = [part for part in super().data() if part is not None]
        return Splits(*((x, torch.randn(len(x), networks.CODE, generator=stream)) for x, _ in parts))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        pixels, mean, log_deviation = net(*batch).tensor_split((784, 784 + networks.CODE), dim=1)
        error = (pixels - batch[0].flatten(1)).square().sum(1).mean()
        divergence = 1 + 2 * log_deviation - mean.square() - (2 * log_deviation).exp()
        return error - 0.5 * divergence.sum(1).mean()


@dataclass(frozen=True)
class CharacterRnn(Problem):
    """Two LSTM layers of 128 units that predict the next character of War and Peace, 285,523 parameters."""

    units: int = 128

    track = "unsupervised"
    dtype = torch.float32
    objective_loss = NEXT_SYMBOL
    passes = 600.0
    batch = 50
    stochastic = True
    bound = 0.0

    def network(self) -> nn.Module:
        return networks.CharRnn(SYMBOLS, self.units)

    @property
    def data_files(self) -> tuple[Path, ...]:
        return data_files.here("tolstoi")

    def data(self) -> Splits:
        return characters(50)
