"""Write the headline table of a results folder as CSV: what the reference must give again, whatever the report becomes.

    python scripts/headline_table.py results/reference > results/reference/headline.csv

One row per optimizer: its trials, how many failed, its score with the ends of its 95 % interval, its targets (problem,
tau, seed) and how many it hit, and its score on validation with its interval. The highest score comes first; those that
are not ranked have none and come last. Only the records are read; no figure is drawn.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from optbench.records.reader import read
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study


def headline(folder: str | Path) -> pd.DataFrame:
    """The table of a folder's records, tuned optimizers with the configurations chosen for them."""
    found = findings(load_study([read(folder)]))
    chosen, ranking = found.study, found.ranking
    trials = chosen.trials
    stated = {name: [math.isfinite(chosen.target(name, tau)) for tau in chosen.taus] for name in chosen.problems}
    targets = trials["problem"].map({name: sum(flags) for name, flags in stated.items()}).to_numpy()
    hits = np.isfinite(chosen.costs()).sum(1)  # (trials,)
    second = found.generalising.ranking.iqm if found.generalising else {}

    def on_validation(label: str) -> tuple[float, float, float]:
        return second[label][:3] if label in second else (math.nan, math.nan, math.nan)

    rows = []
    for label in [*ranking.order, *ranking.apart]:
        own = (trials["label"] == label).to_numpy()
        score, low, high = ranking.iqm[label][:3] if label in ranking.iqm else (math.nan,) * 3
        counts = own.sum(), chosen.no_result[own].sum()
        rows.append((label, *counts, score, low, high, targets[own].sum(), hits[own].sum(), *on_validation(label)))
    columns = ["optimizer", "trials", "failed", "score", "low", "high", "targets", "hit"]
    columns += ["validation", "validation_low", "validation_high"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="a results folder, packed or not")
    headline(parser.parse_args().folder).to_csv(sys.stdout, index=False, float_format="%.6g", lineterminator="\n")
