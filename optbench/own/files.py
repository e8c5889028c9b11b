"""Data in files: a table, an archive of arrays, or a folder of pictures, as the command line names them.

Large ones are read once; worker processes map what is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from optbench.core.problem import split
from optbench.core.trial import RequestError
from optbench.own.arrays import TARGETS, Part, part

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".npy")
PARTS = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test", "testing")}
SHARES = (0.7, 0.15, 0.15)


class Parts(NamedTuple):
    """What is read. by_chance: chance divided it. standardised: on its training rows."""

    train: Part | None
    valid: Part | None
    test: Part | None
    by_chance: bool = False
    standardised: bool = False


class Files(NamedTuple):
    """What files hold. outputs: classes, or numbers that a target has; inputs: the shape of one sample."""

    train: Any
    valid: Any
    test: Any
    inputs: tuple[int, ...]
    outputs: int
    shares: tuple[float, ...] = ()  # in which chance divided them; () where the files say which is which
    standardised: bool = False  # the inputs are, on the training split


def read(path: str | Path, target: str | None, classes: bool) -> Files:
    """The splits of a file or folder. classes: the target is a class. Raises RequestError, in one line.

    .csv (or .tsv, .parquet): a table whose columns are inputs but for `target`, and, where there is one, `split`;
    numbers are standardised by the training rows. .npz: arrays `x` and `y`, or `x_train`, `y_train`, `x_valid`, ...
    A folder: one a class, with pictures, maybe below `train`, `valid` and `test`.
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(f"--data {path}: no such file or folder")
    if path.is_dir():
        return _sized(_folder(path), classes)
    readers: dict[str, Callable[[Path, str | None], Parts]] = {
        ".csv": _table,
        ".tsv": _table,
        ".parquet": _table,
        ".npz": _archive,
    }
    if path.suffix not in readers:
        raise RequestError(f"--data {path}: {path.suffix or 'no suffix'} is none of {', '.join(readers)}, or a folder")
    return _sized(readers[path.suffix](path, target), classes)


def _sized(parts: Parts, classes: bool) -> Files:
    train, valid, test = parts[:3]
    if train is None:
        raise RequestError("the training split is empty")
    outputs = 1
    if classes and train.target is not None:
        outputs = 1 + max(
            int(one.target.max()) for one in (train, valid, test) if one is not None and one.target is not None
        )
    elif train.target is not None and train.target.ndim > 1:
        outputs = int(train.target.shape[1])
    held = [False if one is None else one.batch() for one in (valid, test)]
    shares = SHARES if parts.by_chance else ()
    inputs = tuple(train.inputs[0].shape[1:])
    return Files(train.batch(), held[0], held[1], inputs, outputs, shares, parts.standardised)


def _three(parts: Iterable[Part | None]) -> Parts:
    train, valid, test = parts
    return Parts(train, valid, test)


def _divided(whole: Part) -> Parts:
    if whole.samples < 10:
        raise RequestError(f"{whole.samples} samples are too few to hold out validation and test data: give 10 or more")
    train, valid, test = (whole.rows(index) for index in split(whole.samples, SHARES))
    return Parts(train, valid, test, by_chance=True)


def _table(path: Path, target: str | None) -> Parts:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    except ImportError as error:
        raise RequestError(f"--data {path}: {error}; python -m pip install 'optbench[parquet]'") from None
    except (ValueError, OSError) as error:
        raise RequestError(f"--data {path} is no table: {' '.join(str(error).split())[:200]}") from None
    if "split" in frame.columns and target != "split":
        kinds, where = frame.pop("split").astype(str).str.lower(), {n: w for w, names in PARTS.items() for n in names}
        if wrong := sorted(set(kinds) - set(where)):
            raise RequestError(f"--data {path}: split {wrong[0]!r} is not one of {', '.join(PARTS)}")
        named = kinds.map(where)
        whole = part(frame, target, str(path))
        rows = {name: torch.from_numpy(np.flatnonzero(named.to_numpy() == name)) for name in PARTS}
        if not len(rows["train"]):
            raise RequestError(f"--data {path}: no row is of the split train")
        found: Parts = _three(whole.rows(index) if len(index) else None for index in rows.values())
    else:
        found = _divided(part(frame, target, str(path)))
    return _standardised(found)


def _standardised(parts: Parts) -> Parts:
    train = parts.train
    if train is None:
        return parts
    deviation, mean = torch.std_mean(train.inputs[0], 0, correction=0)
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))

    def scaled(one: Part) -> Part:
        return Part(((one.inputs[0] - mean) / scale,), one.target, one.names, one.classes)

    three = _three(one and scaled(one) for one in parts[:3])
    return three._replace(by_chance=parts.by_chance, standardised=True)


def _archive(path: Path, target: str | None) -> Parts:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as error:
        raise RequestError(f"--data {path} is no archive of arrays: {' '.join(str(error).split())[:200]}") from None
    if "x_train" in arrays:
        found: list[Part | None] = []
        for names in PARTS.values():
            name = next((one for one in names if f"x_{one}" in arrays), None)
            if name is None:
                found.append(None)
            elif f"y_{name}" in arrays:
                found.append(part((arrays[f"x_{name}"], arrays[f"y_{name}"]), None, f"{path} {name}"))
            else:
                found.append(part(arrays[f"x_{name}"], None, f"{path} {name}"))
        return _three(found)
    goal = target or next((name for name in TARGETS if name in arrays), None)
    inputs = [name for name in arrays if name != goal]
    if len(inputs) != 1 or (goal is not None and goal not in arrays):
        raise RequestError(
            f"--data {path} holds {', '.join(arrays) or 'nothing'}; needed are x and y, or x_train, y_train, ..."
        )
    given = (arrays[inputs[0]],) if goal is None else (arrays[inputs[0]], arrays[goal])
    return _divided(part(given, None, str(path)))


def _folder(path: Path) -> Parts:
    below = {name: next((path / one for one in names if (path / one).is_dir()), None) for name, names in PARTS.items()}
    if below["train"] is None:
        return _divided(_pictures(path, None))
    first = _classes(below["train"])
    return _three(None if where is None else _pictures(where, first) for where in below.values())


def _classes(folder: Path) -> list[str]:
    names = sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if len(names) < 2:
        raise RequestError(
            f"--data {folder}: a folder of pictures has a folder for each class, and there {'is' if names else 'are'} "
            f"{'only ' + names[0] if names else 'none'}; a table of images is the problem own_images_class"
        )
    return names


def _pictures(folder: Path, classes: list[str] | None) -> Part:
    """Pictures (N, C, H, W) in [0, 1] with their class numbers."""
    names = classes or _classes(folder)
    found, labels, size = [], [], None
    for label, name in enumerate(names):
        if not (folder / name).is_dir():
            raise RequestError(f"--data {folder}: the class {name!r} of train has no folder here")
        files = sorted(one for one in (folder / name).iterdir() if one.suffix.lower() in PICTURES)
        if not files:
            raise RequestError(f"--data {folder / name} holds no picture ({', '.join(PICTURES[:4])}, ...)")
        for file in files:
            picture = _picture(file)
            size = size or picture.shape
            if picture.shape != size:
                raise RequestError(
                    f"--data {file}: a picture of {picture.shape}, the first has {size}; make them alike"
                )
            found.append(picture)
            labels.append(label)
    return part((np.stack(found), np.array(labels)), None, str(folder))


def _picture(file: Path) -> np.ndarray:
    """(C, H, W): grey pictures have one channel, all others three."""
    from PIL import Image, UnidentifiedImageError

    try:
        if file.suffix == ".npy":
            array = np.load(file, allow_pickle=False).astype(np.float32)
            return array[None] if array.ndim == 2 else array
        with Image.open(file) as image:
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            array = np.asarray(image.convert("L" if grey else "RGB"))
    except (ValueError, OSError, UnidentifiedImageError) as error:
        raise RequestError(f"--data {file} cannot be read: {str(error).splitlines()[0][:160]}") from None
    return array[None] if grey else array.transpose(2, 0, 1)
