"""Multi-layer perceptrons that tell three classes apart: Fisher's iris flowers, and wines by their chemistry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sklearn.datasets import load_iris, load_wine
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.problems.shared import accuracy, classification, measured_start, stated

FEATURES = {"iris": 4, "wine": 13}
STARTS = {("iris", 8): 1.11588, ("wine", 8): 1.13557}  # (table, hidden): start


@dataclass(frozen=True)
class MlpClasses(Problem):
    """A one-hidden-layer ReLU network on a small table of three classes, cross-entropy."""

    table: str = "iris"  # or "wine"
    hidden: int = 8

    track = "supervised"
    loss_name = "cross-entropy"
    passes = 400.0
    best = Best(0.0, "bound")

    def __post_init__(self) -> None:
        stated("table", self.table, FEATURES)

    @property
    def start(self) -> float:
        return STARTS.get((self.table, self.hidden)) or measured_start(self)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES[self.table], self.hidden), nn.ReLU(), nn.Linear(self.hidden, 3))

    def data(self) -> Splits:
        return _data(self.table)

    def loss(self, net: Net, batch: Batch) -> Tensor:
        x, y = batch
        return F.cross_entropy(net(x), y)

    def metrics(self, net: Net, batch: Batch) -> dict[str, Tensor]:
        x, y = batch
        return {"accuracy": accuracy(net(x), y)}


@cache
def _data(table: str) -> Splits:
    """iris: 4 lengths of 150 flowers, one of them a duplicate that is left out; wine: 13 measurements of 178 wines."""
    source = load_iris() if table == "iris" else load_wine()
    x, y = source.data, source.target
    keep = [i for i in range(len(x)) if not any((x[i] == x[j]).all() and y[i] == y[j] for j in range(i))]
    return classification(x[keep], y[keep])
