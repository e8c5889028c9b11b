"""How much seeds differ, problem by problem, and whether their number makes means that can be told apart."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import scipy

from optbench.report.analysis.ranking import ROPE, Ranking


def seed_noise(ranking: Ranking) -> pd.DataFrame:
    """A row a problem with ranked optimizers that ran two seeds or more on it.

    Columns: problem, optimizers, seeds (the median of a cell), seed_sd (of the score within a cell, pooled), spread (of
    the optimizers' true means, seeds taken off: the random-effects estimate), share (of the variance of one trial's
    score that seeds make), error (the standard error of a cell's mean), seeds_needed (for a standard error of the
    practical equivalence), equal_p (Levene's test with medians that seeds scatter alike under all optimizers; Brown &
    Forsythe 1974), noisiest (the optimizer whose seeds scatter most).
    """
    study, rows = ranking.study, []
    for members in ranking.units.values():
        for problem in members:
            cells = {
                label: study.score[study.cells[problem, label]]
                for label in ranking.labels
                if study.applies(problem, label) and len(study.cells[problem, label]) > 1
            }
            if not cells or any(np.isnan(values).any() for values in cells.values()):
                continue
            sizes = np.array([len(values) for values in cells.values()], dtype=float)
            scatter = np.array([values.var(ddof=1) for values in cells.values()])
            within = float((scatter * (sizes - 1)).sum() / (sizes - 1).sum())
            means = np.array([values.mean() for values in cells.values()])
            seeds = float(np.median(sizes))
            between = max(float(means.var(ddof=1)) - within / seeds, 0.0) if len(means) > 1 else math.nan
            whole = within + between
            scattered = [values for values in cells.values() if values.size > 2]
            told = len(scattered) > 1 and within > 0
            equal = scipy.stats.levene(*scattered, center="median").pvalue if told else math.nan
            rows.append(
                {"problem": problem, "optimizers": len(cells), "seeds": seeds, "seed_sd": math.sqrt(within)}
                | {"spread": math.sqrt(between) if between >= 0 else math.nan}
                | {"share": within / whole if whole > 0 else math.nan, "error": math.sqrt(within / seeds)}
                | {"seeds_needed": max(math.ceil(within / ROPE**2 - 1e-9), 1), "equal_p": float(equal)}
                | {"noisiest": [*cells][int(scatter.argmax())]}
            )
    columns = ["problem", "optimizers", "seeds", "seed_sd", "spread", "share", "error", "seeds_needed", "equal_p"]
    return pd.DataFrame(rows, columns=[*columns, "noisiest"])
