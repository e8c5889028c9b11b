"""A small data set in the formats in which CIFAR comes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

COLOUR = np.random.default_rng(1).integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)


def cifar_batches(hundred: bool) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    names = ("train", "test") if hundred else (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")
    for k, name in enumerate(names):
        yield name, COLOUR[10 * k : 10 * k + 10], [(k + j) % 10 for j in range(10)]


def write_cifar(root: Path, hundred: bool, binary: bool) -> None:
    """A small data set as CIFAR comes: ten pictures a file."""
    stem = ("cifar-100-" if hundred else "cifar-10-batches-") + (
        ("binary" if hundred else "bin") if binary else ("python" if hundred else "py")
    )
    (root / stem).mkdir()
    for name, x, y in cifar_batches(hundred):
        if binary:
            coarse = np.full((10, int(hundred)), 9, dtype=np.uint8)
            rows = np.concatenate([coarse, np.array(y, dtype=np.uint8)[:, None], x.reshape(10, -1)], axis=1)
            (root / stem / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            batch = {"data": x.reshape(10, -1), ("fine_labels" if hundred else "labels"): y, "filenames": ["a"] * 10}
            (root / stem / name).write_bytes(pickle.dumps(batch, protocol=2))
