"""A convolutional network on Fashion-MNIST: the subset in the package, or the full set from a folder."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits, split
from optbench.problems.fashion import Pictures, pictures, scaled
from optbench.problems.shared import accuracy, measured_start

STARTS = {8: 2.30503}  # channels: start
IMAGES, LABELS = 2051, 2049  # what the first four bytes of an idx file say
PARTS = {"train": 60_000, "t10k": 10_000}


@dataclass(frozen=True)
class CnnFashion(Problem):
    """Two convolutions, pooling and dropout on a subset of Fashion-MNIST (1600 / 400 / 500), cross-entropy."""

    channels: int = 8  # after the first convolution; twice as many after the second
    dropout: float = 0.25

    track = "supervised"
    loss_name = "cross-entropy"
    passes = 30.0
    batch = 64
    stochastic = True
    best = Best(0.0, "bound")
    taus = (0.5, 0.2)

    @property
    def start(self) -> float:
        return STARTS.get(self.channels) or measured_start(self)

    def network(self) -> nn.Module:
        c = self.channels
        return nn.Sequential(
            nn.Conv2d(1, c, 5, stride=2, padding=2),  # (N, c, 14, 14)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, c, 7, 7)
            nn.Conv2d(c, 2 * c, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 2c, 3, 3)
            nn.Flatten(),
            nn.Dropout(self.dropout),
            nn.Linear(18 * c, 10),
        )

    def data(self) -> Splits:
        return Splits(*(tuple(part) for part in pictures()))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.cross_entropy(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        return {"accuracy": accuracy(net(x), y)}


@dataclass(frozen=True)
class CnnFashionFull(CnnFashion):
    """The same network on the full Fashion-MNIST (54000 / 6000 / 10000), read from a folder on this machine."""

    folder: str = "/usr/share/datasets/fashion-mnist"  # where Debian's dataset-fashion-mnist puts it

    passes = 15.0
    start = 2.30474

    def data(self) -> Splits:
        """Raises FileNotFoundError that says which file is missing and where it comes from, ValueError on a bad one."""
        return _full(self.folder)


@cache
def _full(folder: str) -> Splits:
    (x, y), test = (_part(Path(folder), part, count) for part, count in PARTS.items())
    train, valid = split(len(x), (0.9, 0.1))
    return Splits((x[train], y[train]), (x[valid], y[valid]), tuple(test))


def _part(folder: Path, part: str, count: int) -> Pictures:
    images = _idx(folder / f"{part}-images-idx3-ubyte.gz", IMAGES, (count, 28, 28))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte.gz", LABELS, (count,))
    return Pictures(scaled(images), torch.as_tensor(labels, dtype=torch.int64))


def _idx(path: Path, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    """An idx.gz file: four bytes of kind, a big-endian length an axis, then bytes."""
    if not path.is_file():
        raise FileNotFoundError(
            f"the full Fashion-MNIST needs {path}: install Debian's package dataset-fashion-mnist, or copy the four "
            "idx.gz files from github.com/zalandoresearch/fashion-mnist and name their folder, as in "
            "cnn_fashion_full[folder=DIR]; cnn_fashion runs on the subset in the package"
        )
    try:
        content = gzip.decompress(path.read_bytes())
        found = struct.unpack(f">{1 + len(shape)}I", content[: 4 * (1 + len(shape))])
    except (OSError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no idx.gz file ({error})") from None
    body = np.frombuffer(content, dtype=np.uint8, offset=4 * len(found))
    if found != (kind, *shape) or body.size != np.prod(shape):
        raise ValueError(f"{path} holds {found[1:]} and {body.size} bytes, the full Fashion-MNIST {shape}")
    return body.reshape(shape).copy()
