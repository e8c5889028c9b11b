"""Standard data sets that the package does not carry: which files each has, where they are, and how to get them.

They are looked for in the folder that the environment variable OPTBENCH_DATA names, in torchvision's layout or as their
authors distribute them. Nothing is downloaded unless `python -m optbench data NAME --download` asks for it. Standard
library only, since `list` says which are there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

VARIABLE = "OPTBENCH_DATA"
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_TIMEOUT = 60.0  # seconds without an answer


class File(NamedTuple):
    """One file to download: its name, and the MD5 that its authors or torchvision state."""

    name: str
    md5: str


class DataSet(NamedTuple):
    """A data set. layouts: lists of files below the folder, any of which is enough; a name may also end in .gz.

    into: the folder that downloads go to. url: that the files are below. unpacks: they are archives.
    """

    summary: str
    layouts: tuple[tuple[str, ...], ...]
    into: str
    url: str
    files: tuple[File, ...]
    unpacks: bool = False


def _idx_layouts(*folders: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{folder}/{name}" if folder else name for name in _IDX) for folder in folders)


_BATCHES = (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")

DATA_SETS: dict[str, DataSet] = {
    "mnist": DataSet(
        "70,000 handwritten digits, 28x28 (LeCun et al. 1998)",
        _idx_layouts("MNIST/raw", "mnist"),
        "MNIST/raw",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            File("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            File("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            File("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            File("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    "fmnist": DataSet(
        "Fashion-MNIST, 70,000 pictures of clothing, 28x28 (Xiao et al. 2017)",
        _idx_layouts("FashionMNIST/raw", "fashion-mnist", "fmnist"),
        "FashionMNIST/raw",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            File("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            File("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            File("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            File("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "cifar10": DataSet(
        "60,000 colour pictures of 10 classes, 32x32 (Krizhevsky 2009)",
        (
            tuple(f"cifar-10-batches-py/{name}" for name in _BATCHES),
            tuple(f"cifar-10-batches-bin/{name}.bin" for name in _BATCHES),
        ),
        "",
        "https://www.cs.toronto.edu/~kriz/",
        (File("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        True,
    ),
    "cifar100": DataSet(
        "60,000 colour pictures of 100 classes, 32x32 (Krizhevsky 2009)",
        (
            ("cifar-100-python/train", "cifar-100-python/test"),
            ("cifar-100-binary/train.bin", "cifar-100-binary/test.bin"),
        ),
        "",
        "https://www.cs.toronto.edu/~kriz/",
        (File("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
        True,
    ),
    "svhn": DataSet(
        "99,289 house numbers in colour, 32x32 (Netzer et al. 2011)",
        (("train_32x32.mat", "test_32x32.mat"), ("svhn/train_32x32.mat", "svhn/test_32x32.mat")),
        "svhn",
        "http://ufldl.stanford.edu/housenumbers/",
        (
            File("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            File("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    "tolstoi": DataSet(
        "War and Peace as numbers of its characters, 83 symbols, as DeepOBS prepares it",
        (("tolstoi/train.npy", "tolstoi/test.npy"),),
        "tolstoi",
        "",  # DeepOBS's own script makes the files
        (),
    ),
}


def folder() -> Path | None:
    """Where data sets are looked for; None where OPTBENCH_DATA is not set."""
    stated = os.environ.get(VARIABLE)
    return Path(stated).expanduser() if stated else None


def found(name: str) -> list[Path]:
    """The files of a data set, in the order of its first complete layout. Raises ValueError: what is missing."""
    root = folder()
    stated = DATA_SETS[name]
    if root is None:
        raise ValueError(
            f"{name} is read from the folder that {VARIABLE} names, and it names none; "
            f"`python -m optbench data {name}` says what belongs there"
        )
    missing: list[str] = []
    for layout in stated.layouts:
        paths = [_plain_or_packed(root / file) for file in layout]
        absent = [file for file, path in zip(layout, paths, strict=True) if path is None]
        if not absent:
            return [path for path in paths if path is not None]
        if not missing or len(absent) < len(missing):
            missing = absent
    rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    how = f"`python -m optbench data {name} --download` gets it" if stated.files else "its authors' script makes it"
    raise ValueError(f"{name} needs {root / missing[0]}{rest}: {how}")


def here(name: str) -> tuple[Path, ...]:
    """The files of a data set where all of them are there, else none."""
    try:
        return tuple(found(name))
    except ValueError:
        return ()


def is_ready(name: str) -> bool:
    """Whether all files of a data set are there; nothing is read."""
    return bool(here(name))


def _plain_or_packed(path: Path) -> Path | None:
    return next((one for one in (path, path.with_name(f"{path.name}.gz")) if one.is_file()), None)


def download(name: str, into: Path, say: Callable[[str], object] = print, url: str | None = None) -> list[Path]:
    """Get the files of a data set that are not there; each is checked before it is used.

    into: what OPTBENCH_DATA names. url: a mirror with the same files. Raises ValueError for a set that has no download
    and for a file that is not the one that was published, OSError where nothing can be reached or written.
    """
    stated = DATA_SETS[name]
    if not stated.files:
        raise ValueError(f"{name} has no download; {stated.layouts[0][0]} is made by DeepOBS's own script")
    place = into / stated.into
    place.mkdir(parents=True, exist_ok=True)
    got = []
    for file in stated.files:
        path = place / file.name
        if path.is_file() and md5(path) == file.md5:
            say(f"{path} is there")
        else:
            _get(f"{url or stated.url}{file.name}", path, file.md5)
            say(f"{path}: {path.stat().st_size:,} bytes, checksum as published")
        if stated.unpacks:
            with tarfile.open(path) as archive:
                archive.extractall(place, filter="data")
        got.append(path)
    return got


def _get(url: str, path: Path, wanted: str) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, part.open("wb") as out:
            shutil.copyfileobj(answer, out)
        if (digest := md5(part)) != wanted:
            raise ValueError(f"{url}: MD5 {digest}, published is {wanted}; nothing was kept")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def md5(path: Path) -> str:
    """Of a file, in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
