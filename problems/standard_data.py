"""MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100, SVHN and Tolstoi's characters, read from the files that they come in, and
what problems on these pictures share.

Files of CIFAR in torchvision's format are pickles; only arrays, numbers and text are unpickled. Whatever is wrong with
a file is one line that names it.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Problem, Splits, split
from optbench.core.user_files import Stamp, stamps
from optbench.problems import data_files
from optbench.problems.fashion import pictures
from optbench.problems.precision import PRECISIONS
from optbench.problems.shared import stated

IMAGES, LABELS = 2051, 2049  # what the first four bytes of an idx file say
CLASSES = {"mnist": 10, "fmnist": 10, "cifar10": 10, "cifar100": 100, "svhn": 10, "fashion": 10}
SHAPES = {
    "mnist": (1, 28),
    "fmnist": (1, 28),
    "cifar10": (3, 32),
    "cifar100": (3, 32),
    "svhn": (3, 32),
    "fashion": (1, 28),
}
SYMBOLS = 83  # of Tolstoi's characters

Array = NDArray[Any]


class Images(NamedTuple):
    """pixels: (N, C, H, W) uint8. labels: (N,) int64."""

    pixels: Array
    labels: Array


@dataclass(frozen=True)
class OnPictures(Problem):
    """Pictures (N, C, H, W) and their classes (N,); cross-entropy."""

    data_set: str = "fashion"  # the subset in the package; or mnist, fmnist, cifar10, cifar100, svhn

    name: ClassVar[str] = ""  # what a refusal calls the problem
    takes: ClassVar[Sequence[str]] = tuple(CLASSES)  # data sets
    track = "supervised"
    dtype = torch.float32
    objective_loss = CROSS_ENTROPY
    batch = 128
    bound = 0.0

    def __post_init__(self) -> None:
        stated(f"{self.name}: data_set", self.data_set, self.takes)

    @property
    def channels(self) -> int:
        return SHAPES[self.data_set][0]

    @property
    def side(self) -> int:
        """Pixels."""
        return SHAPES[self.data_set][1]

    @property
    def classes(self) -> int:
        return CLASSES[self.data_set]

    @property
    def data_files(self) -> tuple[Path, ...]:
        return data_files.here(self.data_set) if self.data_set in data_files.DATA_SETS else ()

    def data(self) -> Splits:
        return images(self.data_set)


@dataclass(frozen=True)
class AnySize(OnPictures):
    """A network whose size is a setting."""

    precision: str = "single"  # or mixed: bfloat16 where autocast has it

    passes = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        stated(f"{self.name}: precision", self.precision, PRECISIONS)


def images(name: str) -> Splits:
    """Pictures (N, C, H, W) in [0, 1] with their labels; as many of the training ones as test has, at most a fifth, are
    held out for validation.

    name: a key of CLASSES; "fashion" is the subset of Fashion-MNIST that the package carries. Raises ValueError.
    """
    if name == "fashion":
        return Splits(*(tuple(part) for part in pictures()))
    return _images(name, stamps(data_files.found(name)))


@lru_cache(maxsize=4)
def _images(name: str, files: tuple[Stamp, ...]) -> Splits:
    """files: as they are now, so that others are read anew."""
    paths = [Path(path) for path, _, _ in files]
    readers = {"mnist": _mnist, "fmnist": _mnist, "cifar10": _cifar, "cifar100": _cifar, "svhn": _svhn}
    train, test = (_checked(name, part, paths) for part in readers[name](paths))
    held = min(len(test.labels), len(train.labels) // 5)
    if not held:
        raise ValueError(f"{paths[0]}: {len(train.labels)} training pictures are too few to hold out validation data")
    kept, valid = split(len(train.labels), ((len(train.labels) - held) / len(train.labels), held / len(train.labels)))
    x, y = _tensors(train)
    return Splits((x[kept], y[kept]), (x[valid], y[valid]), _tensors(test))


def _tensors(part: Images) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(part.pixels).to(torch.float32) / 255, torch.from_numpy(part.labels)


def _checked(name: str, part: Images, paths: list[Path]) -> Images:
    channels, side = SHAPES[name]
    where = paths[0].parent
    if part.pixels.shape[1:] != (channels, side, side) or len(part.pixels) != len(part.labels):
        raise ValueError(
            f"{where}: {part.pixels.shape} pictures and {part.labels.shape} labels are not those of {name}"
        )
    if not len(part.labels):
        raise ValueError(f"{where}: a part of {name} holds no picture")
    if part.labels.min() < 0 or part.labels.max() >= CLASSES[name]:
        raise ValueError(
            f"{where}: labels {part.labels.min()} to {part.labels.max()}, {name} has {CLASSES[name]} classes"
        )
    return part


def _mnist(paths: list[Path]) -> tuple[Images, Images]:
    x_train, y_train, x_test, y_test = paths
    return Images(_idx(x_train, IMAGES)[:, None], _labels(y_train)), Images(
        _idx(x_test, IMAGES)[:, None], _labels(y_test)
    )


def _labels(path: Path) -> Array:
    return _idx(path, LABELS).astype(np.int64)


def _idx(path: Path, kind: int) -> Array:
    """An idx file, packed or not: four bytes of kind, a big-endian length an axis, then bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        axes = kind % 256
        found, *shape = struct.unpack(f">{1 + axes}I", content[: 4 * (1 + axes)])
    except (OSError, EOFError, struct.error) as error:
        raise ValueError(f"{path} is no idx file ({error})") from None
    body = np.frombuffer(content, dtype=np.uint8, offset=4 * (1 + axes))
    if found != kind or body.size != np.prod(shape):
        raise ValueError(
            f"{path}: kind {found}, {body.size} bytes for {tuple(shape)}; an idx file of kind {kind} is needed"
        )
    return body.reshape(shape).copy()


def _cifar(paths: list[Path]) -> tuple[Images, Images]:
    parts = [_cifar_binary(path) if path.suffix == ".bin" else _cifar_pickled(path) for path in paths]
    train = Images(np.concatenate([part.pixels for part in parts[:-1]]), np.concatenate([p.labels for p in parts[:-1]]))
    return train, parts[-1]


def _cifar_binary(path: Path) -> Images:
    """Rows of one label (two where there are 100 classes: the coarse one first), then 3,072 pixels."""
    row = 3072 + (2 if path.parent.name == "cifar-100-binary" else 1)
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if not content.size or content.size % row:
        raise ValueError(f"{path}: {content.size} bytes are no rows of {row}")
    rows = content.reshape(-1, row)
    return Images(rows[:, -3072:].reshape(-1, 3, 32, 32).copy(), rows[:, -3073].astype(np.int64))


class _Plain(pickle.Unpickler):
    """Unpickles arrays and what Python has of its own, nothing that could run."""

    allowed = frozenset(
        (module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in ((f"{package}.multiarray", "_reconstruct"), (f"{package}.multiarray", "scalar"))
    ) | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no data")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _cifar_pickled(path: Path) -> Images:
    try:
        found = _Plain(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        labels = found["fine_labels"] if "fine_labels" in found else found["labels"]
        pixels = np.asarray(found["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        return Images(pixels, np.asarray(labels, dtype=np.int64))
    except (pickle.UnpicklingError, KeyError, TypeError, ValueError, EOFError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is no batch of CIFAR ({type(error).__name__}: {error})") from None


def _svhn(paths: list[Path]) -> tuple[Images, Images]:
    train, test = (_mat(path) for path in paths)
    return train, test


def _mat(path: Path) -> Images:
    """X: (32, 32, 3, N) uint8; y: (N, 1) labels, 10 for the digit 0."""
    from scipy.io import loadmat

    try:
        found = loadmat(path)
        return Images(np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)), found["y"].ravel().astype(np.int64) % 10)
    except Exception as error:  # scipy raises many kinds
        raise ValueError(f"{path} is no file of SVHN ({type(error).__name__}: {str(error)[:80]})") from None


def characters(context: int) -> Splits:
    """Windows (N, context) of Tolstoi's characters as numbers, and of those that follow; valid is the end of train.

    Raises ValueError.
    """
    return _characters(context, stamps(data_files.found("tolstoi")))


@lru_cache(maxsize=4)
def _characters(context: int, files: tuple[Stamp, ...]) -> Splits:
    train, test = (_numbers(Path(path)) for path, _, _ in files)
    held = min(len(test), len(train) // 5)
    return Splits(*(_windows(part, context) for part in (train[:-held], train[-held:], test)))


def _numbers(path: Path) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False).astype(np.int64).ravel()
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no array of numbers ({error})") from None
    if not len(found) or found.min() < 0 or found.max() >= SYMBOLS:
        raise ValueError(f"{path}: characters are numbers from 0 to {SYMBOLS - 1}")
    return torch.from_numpy(found)


def _windows(text: Tensor, context: int) -> tuple[Tensor, Tensor]:
    count = (len(text) - 1) // context
    if count < 1:
        raise ValueError(f"tolstoi: {len(text)} characters hold no window of {context}")
    return text[: count * context].view(count, context), text[1 : count * context + 1].view(count, context)
