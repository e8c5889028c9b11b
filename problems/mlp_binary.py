"""Multi-layer perceptrons for a diagnosis from a table: breast cancer, Alzheimer biomarkers, Parkinson's speech.

The last two are real tables from studies of neurodegeneration, with few people and many measurements: 333 x 129
proteins and the APOE genotype (Craig-Schapiro et al., PLoS ONE e18850), and 252 x 751 features of speech (UCI).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor, nn

from optbench.core.losses import BCE, logit_accuracy
from optbench.core.problem import Known, Problem, Splits
from optbench.problems.shared import arrays, classification, stated
from optbench.problems.sklearn_tables import sklearn_table

FEATURES = {"cancer": 30, "alzheimer": 135, "parkinson": 751}
# (table, hidden): start
STATED = {("cancer", 8): Known(0.688937), ("alzheimer", 8): Known(0.731423), ("parkinson", 8): Known(0.666204)}


@dataclass(frozen=True)
class MlpBinary(Problem):
    """A one-hidden-layer ReLU network with one logit on a table of people, BCE."""

    table: str = "cancer"  # or "alzheimer", "parkinson"
    hidden: int = 8

    track = "supervised"
    objective_loss = BCE.with_metrics(accuracy=logit_accuracy, auc=lambda logits, y: auc(logits.squeeze(1), y))
    passes = 200.0
    batch = 64
    bound = 0.0

    def __post_init__(self) -> None:
        stated("table", self.table, FEATURES)

    @property
    def known(self) -> Known | None:
        return STATED.get((self.table, self.hidden))

    @property
    def taus(self) -> tuple[float, ...]:
        """Of the wide tables, 0.7 is where a swarm ends."""
        return super().taus if self.table == "cancer" else (0.7, 0.1, 1e-2, 1e-3)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES[self.table], self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def data(self) -> Splits:
        return _data(self.table)


def auc(score: Tensor, y: Tensor) -> Tensor:
    """Area under the ROC curve: the share of (1, 0) pairs in the right order, ties counting half."""
    above, below = score[y > 0][:, None], score[y == 0][None]
    return ((above > below).double() + 0.5 * (above == below).double()).mean()


@cache
def _data(table: str) -> Splits:
    """cancer 398/86/85 (1 benign), alzheimer 233/50/50 (1 impaired), parkinson 176/38/38 (1 Parkinson's)."""
    if table == "cancer":
        return classification(*sklearn_table("breast_cancer"))
    if table == "parkinson":
        archive = arrays("pd_speech.npz")
        return classification(archive["X"].astype(np.float64), archive["y"])
    archive = arrays("ad_biomarkers.npz")
    kinds = np.unique(archive["genotype"])
    genotype = (archive["genotype"][:, None] == kinds).astype(np.float64)
    return classification(np.column_stack([archive["X"], genotype]), archive["y"])
