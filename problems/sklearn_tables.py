"""The tables that scikit-learn brings along, read from its files: to import it takes two seconds in every process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# table: the file of its columns and how many lines head it, what divides its columns, and the file of its target
FILES = {
    "breast_cancer": ("breast_cancer.csv", 1, ",", None),
    "diabetes": ("diabetes_data_raw.csv.gz", 0, None, "diabetes_target.csv.gz"),
    "digits": ("digits.csv.gz", 0, ",", None),
    "iris": ("iris.csv", 1, ",", None),
    "wine": ("wine_data.csv", 1, ",", None),
}


def sklearn_table(name: str) -> tuple[Array, Array]:
    """Features (N, F) as float64, unscaled, and the target (N,): int64 classes, or float64 in `diabetes`.

    Equal to the last bit to what scikit-learn's own loader gives, which is used where the files have another place.
    """
    file, head, delimiter, target = FILES[name]
    folder = _folder()
    if folder is None or not (folder / file).is_file():
        return _loaded(name)
    table = np.loadtxt(folder / file, delimiter=delimiter, skiprows=head)
    if target is not None:
        return table, np.loadtxt(folder / target)
    return np.ascontiguousarray(table[:, :-1]), table[:, -1].astype(np.int64)


def _folder() -> Path | None:
    """Where scikit-learn keeps its tables, found without importing it."""
    found = importlib.util.find_spec("sklearn")
    places = found.submodule_search_locations if found else None
    return Path(places[0], "datasets", "data") if places else None


def _loaded(name: str) -> tuple[Array, Array]:
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    features, target = getattr(datasets, f"load_{name}")(return_X_y=True, **options)
    return features, target
