"""Multi-layer perceptrons that tell three classes apart: Fisher's iris flowers, and wines by their chemistry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from torch import nn

from optbench.core.losses import CROSS_ENTROPY
from optbench.core.problem import Known, Problem, Splits
from optbench.problems.shared import classification, stated
from optbench.problems.sklearn_tables import sklearn_table

FEATURES = {"iris": 4, "wine": 13}
STATED = {("iris", 8): Known(1.11588), ("wine", 8): Known(1.13557)}  # (table, hidden): start


@dataclass(frozen=True)
class MlpClasses(Problem):
    """A one-hidden-layer ReLU network on a small table of three classes, cross-entropy."""

    table: str = "iris"  # or "wine"
    hidden: int = 8

    track = "supervised"
    objective_loss = CROSS_ENTROPY
    passes = 400.0
    bound = 0.0

    def __post_init__(self) -> None:
        stated("table", self.table, FEATURES)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.table, self.hidden))

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES[self.table], self.hidden), nn.ReLU(), nn.Linear(self.hidden, 3))

    def data(self) -> Splits:
        return _data(self.table)


@cache
def _data(table: str) -> Splits:
    """iris: 4 lengths of 150 flowers, one of them a duplicate that is left out; wine: 13 measurements of 178 wines."""
    x, y = sklearn_table(table)
    keep = [i for i in range(len(x)) if not any((x[i] == x[j]).all() and y[i] == y[j] for j in range(i))]
    return classification(x[keep], y[keep])
