"""How often `optbench.recommend` answers as well as an exhaustive study, and at what share of its cost.

    python scripts/measure_recommend.py mlp_cancer mlp_diabetes --seconds 120 --csv docs/recommend.csv

The exhaustive study is the reference `standard`: 20 optimizers with 8 settings each, all seeds. Its best cell is the
one of the lowest median validation loss at the budget. An answer is within its interval where the median of the
recommended setting, on seeds that the search never saw, is not above the interval's upper end. A problem that the CSV
file has already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

COLUMN = "valid_loss"
FIELDS = (
    "problem",
    "setting",
    "search",
    "held_out",
    "low",
    "high",
    "best",
    "best_median",
    "best_low",
    "best_high",
    "within",
    "tried",
    "passes",
    "exhaustive_passes",
    "share",
    "seconds",
)


def exhaustive(problem: str) -> dict[str, object]:
    """The best cell of the reference on a problem, its interval, the budget, and what all cells cost."""
    import pandas as pd

    from optbench.records.reader import read
    from optbench.records.reference import reference
    from optbench.report.analysis.load import load_study
    from optbench.report.analysis.statistics import median_interval

    mark = f'"problem":"{problem}"'.encode()
    results = read(reference("standard"), lambda lines: (line for line in lines if mark in line))
    spent = float(results.trials.loc[results.trials["problem"] == problem, "passes"].sum())
    study = load_study([results])
    trials = study.trials.assign(score=pd.Series(study.last[COLUMN], index=study.trials.index))
    mine = trials[trials["problem"] == problem]
    failed = ~mine["status"].isin(["spent", "finished"]) | mine["score"].isna()
    mine = mine.assign(score=mine["score"].where(~failed, float("inf")))
    medians = mine.groupby("label")["score"].median()
    best = str(medians.idxmin())
    interval = median_interval(mine["score"][mine["label"] == best].to_numpy())
    found = {"best": best, "best_median": interval.estimate, "best_low": interval.low, "best_high": interval.high}
    return found | {"budget": float(mine["budget"].median()), "exhaustive_passes": spent}


def measured(problem: str, seconds: float) -> dict[str, object]:
    import optbench

    whole = exhaustive(problem)
    with tempfile.TemporaryDirectory() as folder:
        answer = optbench.recommend(
            problem, seconds=seconds, passes=float(str(whole.pop("budget"))), column=COLUMN, out=Path(folder) / "r"
        )
        print(answer, flush=True)
        held = answer.interval
        return {
            "problem": problem,
            "setting": answer.setting,
            "search": answer.finalists[0].search,
            "held_out": held.estimate,
            "low": held.low,
            "high": held.high,
            **whole,
            "within": int(held.estimate <= float(str(whole["best_high"]))),
            "tried": len(answer.tried),
            "passes": answer.passes,
            "share": answer.passes / float(str(whole["exhaustive_passes"])),
            "seconds": answer.seconds,
        }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("problem", nargs="+", help="of the reference standard")
    arguments.add_argument("--seconds", type=float, default=120.0, help="for each problem")
    arguments.add_argument("--csv", default="docs/recommend.csv", help="the file that rows are added to")
    given = arguments.parse_args()
    file = Path(given.csv)
    rows = list(csv.DictReader(file.open(encoding="utf-8"))) if file.exists() else []
    for problem in given.problem:
        if problem in {row["problem"] for row in rows}:
            continue
        row = measured(problem, given.seconds)
        rows.append({name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()})
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
