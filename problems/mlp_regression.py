"""Multi-layer perceptrons for regression on two tables: diabetes progression and the strength of concrete."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.datasets import load_diabetes
from torch import nn

from optbench.core.losses import MSE, r2
from optbench.core.problem import Known, Problem, Splits
from optbench.problems.shared import read, regression, stated

FEATURES = {"diabetes": 10, "concrete": 8}
# (table, hidden): start, best known (L-BFGS, 10000 passes, the lowest of six seeds)
STATED = {("diabetes", 16): Known(1.10524, 0.022365), ("concrete", 16): Known(1.08167, 0.034189)}


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
    table = load_diabetes(scaled=False)
    return regression(table.data, table.target)


@cache
def _concrete() -> Splits:
    """703 / 151 / 151 mixes, 8 quantities; strength. The 25 rows that repeat another are left out."""
    table = np.loadtxt(io.BytesIO(read("concrete.csv")), delimiter=",", skiprows=1)
    _, first = np.unique(table, axis=0, return_index=True)
    table = table[np.sort(first)]
    return regression(table[:, :-1], table[:, -1])
