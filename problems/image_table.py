"""A CSV table of images and labels, read with care: whatever is wrong with it is one line that names the row.

Columns: `image` (a file, relative to the table: .npy with (H, W), or whatever Pillow opens, read as grey), `label`, and
optionally `split` (train, valid or test; 70/15/15 at random without it).
"""

from __future__ import annotations

import csv
import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from optbench.core.problem import Batch, split
from optbench.core.user_files import Stamp, stamps

PARTS = ("train", "valid", "test")
MIN_SIDE = 15  # pixels a side: three halvings leave one


class Row(NamedTuple):
    """One line of the table."""

    number: int  # line of the table, the header being 1
    image: str
    label: float
    part: str  # one of PARTS, or "" in a table without that column


def files(table: str) -> tuple[Path, ...]:
    """The table and its images, as far as they can be read."""
    path = Path(table)
    try:
        return path, *(path.parent / row.image for row in _read_rows(path))
    except (ValueError, OSError):
        return (path,) if table else ()


def load(table: str, classes: int | None) -> list[Batch]:
    """Per split images (n, 1, H, W), standardised on train, and float64 labels (n,).

    table: the file; classes: labels must be 0 to classes - 1, any number where it is None. Raises ValueError or
    FileNotFoundError, with one line.
    """
    if not table:
        raise ValueError(
            "own images need a table: own_images_class[table=FILE.csv] with the columns image,label[,split]"
        )
    return _loaded(table, classes, stamps(files(table)))


@lru_cache(maxsize=4)
def _loaded(table: str, classes: int | None, files: tuple[Stamp, ...]) -> list[Batch]:
    """files: as they are now, so that others are read anew."""
    path = Path(table)
    rows = _read_rows(path)
    for row in rows:
        _check_label(path, row, classes)
    parts = _parts(path, rows)
    x = _images(path, rows)
    y = torch.tensor([row.label for row in rows], dtype=torch.float64)
    deviation, mean = torch.std_mean(x[parts[0]])
    if deviation == 0:
        raise ValueError(f"{path}: every pixel of the training images has the same value")
    return [((x[part] - mean) / deviation, y[part]) for part in parts]


def _read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        raise FileNotFoundError(f"no table {str(path)!r}; a CSV file with the columns image,label[,split] is needed")
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            columns, table = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8 ({error})") from None
    if sorted(columns) not in (["image", "label"], ["image", "label", "split"]):
        raise ValueError(f"{path}: columns {', '.join(columns) or 'none'}; needed are image,label and maybe split")
    rows = []
    for number, cells in enumerate(table, 2):
        if None in cells:
            raise ValueError(f"{path} row {number}: more cells than columns")
        for column in columns:
            if not (cells[column] or "").strip():
                raise ValueError(f"{path} row {number}: the value of {column} is missing")
        rows.append(_row(path, number, {column: cells[column].strip() for column in columns}))
    if not rows:
        raise ValueError(f"{path}: no rows")
    return rows


def _row(path: Path, number: int, cells: dict[str, str]) -> Row:
    try:
        label = float(cells["label"])
    except ValueError:
        raise ValueError(f"{path} row {number}: label {cells['label']!r} is not a number") from None
    part = cells.get("split", "")
    if "split" in cells and part not in PARTS:
        raise ValueError(f"{path} row {number}: split {part!r} is not one of {', '.join(PARTS)}")
    return Row(number, cells["image"], label, part)


def _check_label(path: Path, row: Row, classes: int | None) -> None:
    if not math.isfinite(row.label):
        raise ValueError(f"{path} row {row.number}: label {row.label} is missing or infinite")
    if classes is not None and (row.label != int(row.label) or not 0 <= row.label < classes):
        raise ValueError(
            f"{path} row {row.number}: label {row.label:g} is out of range, {classes} classes are 0 to {classes - 1}"
        )


def _parts(path: Path, rows: list[Row]) -> list[Tensor]:
    """Row indices of train, valid and test. The same file in two of them is refused."""
    if rows[0].part:
        parts = [
            torch.tensor([i for i, row in enumerate(rows) if row.part == part], dtype=torch.int64) for part in PARTS
        ]
    else:
        parts = split(len(rows))
    for name, part in zip(PARTS, parts, strict=True):
        if not len(part):
            raise ValueError(f"{path}: the split {name} is empty ({len(rows)} rows in all)")
    home: dict[Path, int] = {}
    for number, part in enumerate(parts):
        for index in part.tolist():
            if home.setdefault((path.parent / rows[index].image).resolve(), number) != number:
                raise ValueError(
                    f"{path} row {rows[index].number}: image {rows[index].image!r} is also in another split"
                )
    return parts


def _images(path: Path, rows: list[Row]) -> Tensor:
    """(N, 1, H, W) float32."""
    pictures = [_image(path, row) for row in rows]
    height, width = pictures[0].shape
    for row, picture in zip(rows, pictures, strict=True):
        if picture.shape != (height, width):
            sizes = f"{picture.shape[0]}x{picture.shape[1]}, the first image {height}x{width}"
            raise ValueError(f"{path} row {row.number}: image {row.image!r} is {sizes}; all must have one size")
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"{path}: images of {height}x{width}, at least {MIN_SIDE}x{MIN_SIDE} are needed")
    return torch.as_tensor(np.stack(pictures)).unsqueeze(1)


def _image(path: Path, row: Row) -> np.ndarray:
    file = path.parent / row.image
    where = f"{path} row {row.number}: image {row.image!r}"
    if not file.is_file():
        raise FileNotFoundError(f"{where} does not exist")
    try:
        picture = (
            np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.asarray(Image.open(file).convert("F"))
        )
    except (ValueError, OSError, EOFError, UnidentifiedImageError) as error:
        raise ValueError(f"{where} cannot be read ({str(error).splitlines()[0]})") from None
    if picture.ndim != 2 or not np.issubdtype(picture.dtype, np.number):
        raise ValueError(
            f"{where} is an array of shape {picture.shape} and type {picture.dtype}, (H, W) numbers are needed"
        )
    picture = picture.astype(np.float32)
    if not np.isfinite(picture).all():
        raise ValueError(f"{where} has missing or infinite values")
    return picture
