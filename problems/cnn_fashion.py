"""A convolutional network on Fashion-MNIST: the subset in the package, or the full set from a folder."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Known, Problem, Splits, split
from optbench.problems.fashion import Pictures, pictures, scaled

STATED = {8: Known(2.30503)}  # channels: start
IMAGES, LABELS = 2051, 2049  # what the first four bytes of an idx file say
PARTS = {"train": 60_000, "t10k": 10_000}


@dataclass(frozen=True)
class CnnFashion(Problem):
    """Two convolutions, pooling and dropout on a subset of Fashion-MNIST (1600 / 400 / 500), cross-entropy."""

    channels: int = 8  # after the first convolution; twice as many after the second
    dropout: float = 0.25

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 30.0
    batch = 64
    stochastic = True
    bound = 0.0
    taus = (0.5, 0.2)

    @property
    def known(self) -> Known | None:
        return STATED.get(self.channels)

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
