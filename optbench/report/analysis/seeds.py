"""Optimizers against each other on one problem, where seeds are the unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from optbench.report.analysis.statistics import cell_median, holm, rank_sum, superiority
from optbench.report.analysis.study import Study


@dataclass(frozen=True)
class OneProblem:
    """What seeds say on one problem.

    tau: the target that is compared. cells: a row an optimizer that applies, best first: label, seeds, hits, passes
    (the median, infinite where most seeds miss). pairs: a row a pair, the better first: first, second, sooner
    (the chance that a seed of the first needs fewer passes, ties half), p (rank-sum test), holm_p (for all pairs).
    """

    problem: str
    tau: float
    cells: pd.DataFrame
    pairs: pd.DataFrame
    alpha: float = 0.05  # the level of the test

    def against(self, leader: str) -> dict[str, float]:
        """{every other optimizer: Holm's p against the leader, 1 where the leader is not the sooner}."""
        rows = self.pairs[self.pairs["first"] == leader]
        p = np.where(rows["sooner"] > 0.5, rows["holm_p"], 1.0)
        return dict(zip(rows["second"], map(float, p), strict=True))


def one_problem(study: Study) -> OneProblem | None:
    """The only problem of a study, compared over seeds; None for several problems, or where no target is reached.

    The target is the headline, or the hardest that most seeds of any optimizer reach, or the one hit most often.
    """
    if len(study.problems) != 1 or not study.taus:
        return None
    problem = study.problems[0]
    cells = {label: study.cells[problem, label] for label in study.labels if study.applies(problem, label)}
    medians = {tau: _medians(study, cells, k) for k, tau in enumerate(study.taus)}
    reached = [tau for tau in study.taus if any(math.isfinite(value) for value in medians[tau].values())]
    hit = [tau for k, tau in enumerate(study.taus) if np.isfinite(study.passes_to[:, k]).any()]
    if not hit:
        return None
    often = {tau: int(np.isfinite(study.passes_to[:, study.taus.index(tau)]).sum()) for tau in hit}
    tau = study.headline if study.headline in reached else (reached or sorted(hit, key=lambda one: often[one]))[-1]
    k = study.taus.index(tau)
    rows = [
        {"label": label, "seeds": len(cell), "hits": int(np.isfinite(study.passes_to[cell, k]).sum())}
        | {"passes": medians[tau][label], "score": float(study.score[cell].mean())}
        for label, cell in cells.items()
    ]
    table = pd.DataFrame(rows).sort_values(["passes", "hits", "score"], ascending=[True, False, False], kind="stable")
    pairs = [
        {"first": a, "second": b, "sooner": superiority(study.passes_to[cells[a], k], study.passes_to[cells[b], k])}
        | {"p": rank_sum(study.passes_to[cells[a], k], study.passes_to[cells[b], k])}
        for a, b in combinations(table["label"], 2)
    ]
    found = pd.DataFrame(pairs, columns=["first", "second", "sooner", "p"])
    found["holm_p"] = holm(found["p"].to_numpy(dtype=float)) if len(found) else []
    return OneProblem(problem, tau, table.reset_index(drop=True), found, study.alpha)


def _medians(study: Study, cells: dict[str, np.ndarray], k: int) -> dict[str, float]:
    return {label: cell_median(study.passes_to[cell, k], False) for label, cell in cells.items()}
