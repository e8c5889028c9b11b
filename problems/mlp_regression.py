"""Multi-layer perceptrons for regression on two tables: diabetes progression and the strength of concrete."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from torch import nn

from optbench.core.losses import MSE, r2
from optbench.core.problem import Known, Problem, Splits
from optbench.problems.shared import read, regression, stated
from optbench.problems.sklearn_tables import sklearn_table

FEATURES = {"diabetes": 10, "concrete": 8}
INGREDIENTS = 7  # the first columns of the concrete table
SAME = 1.0001  # kg/m3 by which an ingredient's two entries differ at most, where one of them is rounded to whole kg/m3
# (table, hidden): start, best known. 50 starts of L-BFGS in float64, 500 iterations each, the best five 5000 more
# (python scripts/measure_best_known.py NAME --starts 50).
STATED = {("diabetes", 16): Known(1.10524, 0.0188355992), ("concrete", 16): Known(1.08505, 0.0218749563)}


@dataclass(frozen=True)
class MlpRegression(Problem):
    """A one-hidden-layer tanh network on a table, MSE."""

    table: str = "concrete"  # or "diabetes"
    hidden: int = 16

    track = "supervised"
    objective_loss = MSE.with_metrics(r2=r2)
    passes = 1000.0
    bound = 0.0
    batch = 64

    def __post_init__(self) -> None:
        stated("table", self.table, FEATURES)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.table, self.hidden))

    @property
    def taus(self) -> tuple[float, ...]:
        return (0.5, 0.1, 0.03) if self.table == "diabetes" else (0.5, 0.1, 0.03, 0.01)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES[self.table], self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))

    def data(self) -> Splits:
        return _diabetes() if self.table == "diabetes" else _concrete()


@cache
def _diabetes() -> Splits:
    """309 / 67 / 66 people, 10 measurements; disease progression after a year."""
    return regression(*sklearn_table("diabetes"))


@cache
def _concrete() -> Splits:
    """687 / 164 / 154 samples of 315 mixes: 7 ingredients and the age; strength.

    A mix is tested at several ages, and the table lists some mixes twice, as measured and rounded. All samples of a mix
    are in one split. The 25 rows that repeat another are left out.
    """
    table = concrete_table()
    return regression(table[:, :-1], table[:, -1], group=mixes(table))


def concrete_table() -> NDArray[np.float64]:
    """(1005, 9): 7 ingredients in kg/m3, age in days, strength in MPa; no row twice."""
    table = np.loadtxt(io.BytesIO(read("concrete.csv")), delimiter=",", skiprows=1)
    _, first = np.unique(table, axis=0, return_index=True)
    return table[np.sort(first)]


def mixes(table: NDArray[np.float64]) -> NDArray[np.int32]:
    """(N,) the mix of each row, as a number: rows are of one mix where no ingredient differs by more than `SAME`."""
    from scipy.sparse.csgraph import connected_components  # here, for it takes long to import

    recipes, member = np.unique(table[:, :INGREDIENTS], axis=0, return_inverse=True)
    near = np.abs(recipes[:, None] - recipes[None]).max(-1) <= SAME
    return np.asarray(connected_components(near)[1][member.ravel()])
