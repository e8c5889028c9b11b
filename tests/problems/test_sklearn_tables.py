"""The tables of scikit-learn, read without it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from optbench.problems import sklearn_tables
from optbench.problems.sklearn_tables import FILES, sklearn_table

LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": lambda return_X_y: datasets.load_diabetes(return_X_y=return_X_y, scaled=False),
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


@pytest.mark.parametrize("found", [True, False], ids=["files", "elsewhere"])
@pytest.mark.parametrize("name", FILES)
def test_a_table_equals_what_scikit_learn_loads(name: str, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not found:
        monkeypatch.setattr(sklearn_tables, "_folder", lambda: None)
    features, target = sklearn_table(name)
    expected, labels = LOADERS[name](return_X_y=True)
    assert np.array_equal(features, expected) and features.dtype == expected.dtype
    assert np.array_equal(target, labels) and target.dtype == labels.dtype


def test_problems_are_loaded_without_importing_scikit_learn() -> None:
    code = (
        "import sys\n"
        "from optbench.registry.catalog import Catalog\n"
        "for name in ('line_mse', 'mlp_digits', 'mlp_iris', 'mlp_wine', 'mlp_cancer', 'mlp_diabetes', 'step_bmi'):\n"
        "    Catalog().problem(name).data()\n"
        "print({'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
