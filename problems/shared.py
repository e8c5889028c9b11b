"""What several problems share: package data behind checksums, featurising on train alone, the measured start."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from importlib import resources
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optbench.core.losses import accuracy
from optbench.core.problem import Splits, measured_start, split

__all__ = ["accuracy", "arrays", "classification", "measured_start", "read", "regression", "standardise", "stated"]

Array = NDArray[Any]

# sha256 of every file under problems/data; DATA_LICENSES.md says where each came from
FILES = {
    "ad_biomarkers.npz": "98ca160e273dbafd9152908850efd0a70084d4247420d7aa2e872ebae25a0d34",
    "asyoulik.txt": "eaa3526fe53859f34ecdf255712f9ecf0b2c903451d4755b2edaa2e2599cb0fc",
    "atrophy_phantom_1500x32.npz": "2147216cfebcfe8a954e9ff272010057a08695646fb8f1074fe3950bdf957dd1",
    "concrete.csv": "c2690f237285ede14fa54fe05dbe6a83ce510f65de6a8c5f8cafd6cefd9f38e2",
    "fashion_mnist_2k500.npz": "da091cad03bf6ee4282c8d62262c1f3ac3c3960342e622ad52734aa92d73d233",
    "mni152_coronal_y-20.npz": "62338c0592035bea8a49e250deced7c27e0d96a194b85bffb3bb801c9ef74734",
    "pd_speech.npz": "4af081165779fa940814c03348b1d3d317e6239ed33b258fe0aa8555b3607e7b",
}


def read(name: str) -> bytes:
    """The bytes of a data file in the package. Raises ValueError, naming the file, if its checksum is another."""
    content = resources.files("optbench.problems").joinpath("data", name).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != FILES[name]:
        raise ValueError(
            f"data file {name}: sha256 {found[:16]}..., expected {FILES[name][:16]}...; reinstall optbench"
        )
    return content


def arrays(name: str) -> dict[str, Array]:
    """The arrays of an .npz file in the package, never unpickled."""
    with np.load(io.BytesIO(read(name)), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def standardise(x: Array, train: Tensor) -> Array:
    """Columns of x (N, F) at mean 0 and standard deviation 1 over the rows `train`; a constant column becomes 0."""
    mean, deviation = x[train].mean(0), x[train].std(0)
    scaled: Array = (x - mean) / np.where(deviation > 0, deviation, 1.0)
    return scaled


def split_by_group(group: Array, seed: int = 0) -> list[Tensor]:
    """Row indices of 70/15/15 splits of the groups: rows whose `group` (N,) is the same are in one split only."""
    kinds, member = np.unique(group, return_inverse=True)
    return [torch.as_tensor(np.isin(member, part).nonzero()[0]) for part in split(len(kinds), seed=seed)]


def regression(x: Array, y: Array, seed: int = 0, group: Array | None = None) -> Splits:
    """70/15/15 splits of a table x (N, F) with targets y (N,), both standardised on train: (n, F) and (n, 1).

    group: (N,) what must not be divided among splits, as several measurements of one thing.
    """
    parts = split(len(x), seed=seed) if group is None else split_by_group(group, seed)
    x, y = standardise(x, parts[0]), standardise(y[:, None], parts[0])
    return Splits(*((_real(x[part]), _real(y[part])) for part in parts))


def classification(x: Array, y: Array, seed: int = 0) -> Splits:
    """70/15/15 splits of a table x (N, F), standardised on train, with int64 labels y (N,)."""
    parts = split(len(x), seed=seed)
    x = standardise(x, parts[0])
    return Splits(*((_real(x[part]), torch.as_tensor(y[part], dtype=torch.int64)) for part in parts))


def stated(setting: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError, with what there is, unless the value of a setting is one of the choices."""
    if value not in choices:
        raise ValueError(f"{setting} {value!r} is not one of {', '.join(choices)}")


def _real(values: Array) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
