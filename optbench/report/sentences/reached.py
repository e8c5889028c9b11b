"""Who reached the headline target where and at what cost, and who generalises."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd

from optbench.report.analysis.statistics import cell_median, median_interval
from optbench.report.analysis.study import Study
from optbench.report.format import between, listed, plural, target_name

MAX_SENTENCES = 8  # optimizers that get a sentence each; the others are summed up


def reached(study: Study, costs: pd.DataFrame, order: list[str]) -> list[str]:
    """Who reached the headline target where, and at what cost."""
    tau = study.headline
    part = costs[costs["tau"] == tau]
    solved = {label: part[(part["label"] == label) & (2 * part["hits"] > part["trials"])] for label in order}
    # Most problems first, then the least cost.
    ranked = sorted(order, key=lambda label: (-len(solved[label]), solved[label]["passes"].median()))
    some = [label for label in ranked if len(solved[label])]
    out = [_sentence(study, label, tau, part[part["label"] == label], solved[label]) for label in some[:MAX_SENTENCES]]
    if more := some[MAX_SENTENCES:]:
        counts = [f"{label} on {len(solved[label])}" for label in more]
        out.append(f"Further, {listed(counts)}.")
    if none := [label for label in ranked if not len(solved[label])]:
        out.append(f"On no problem did most trials of {listed(none, 'or')} reach the {target_name(tau)}.")
    return out


def _sentence(study: Study, label: str, tau: float, cells: pd.DataFrame, solved: pd.DataFrame) -> str:
    cells = cells[[study.applies(problem, label) for problem in cells["problem"]]]
    hits, trials = int(cells["hits"].sum()), int(cells["trials"].sum())
    planned = [problem for problem, name in study.cells if name == label]
    applies = sum(study.applies(problem, label) for problem in planned)
    of = plural(len(cells), "problem") + (" that state it" if len(cells) < applies else "")
    of += " and that it applies to" if applies < len(planned) else ""
    text = f"{label} reached the {target_name(tau)} on {len(solved)} of {of}"
    median = median_interval(solved["passes"])
    where = "at" if len(solved) == 1 else "at a median of"
    text += f" {where} {between(median)} passes ({hits} of {plural(trials, 'trial')})"
    sizes = {name: int(study.facts.get(name, {}).get("dim") or 0) for name in cells["problem"]}
    largest = max(sizes[name] for name in solved["problem"])
    return text + (f", none above {largest} parameters." if 0 < largest < max(sizes.values()) else ".")


def lowest_test_loss(study: Study) -> list[str]:
    """Who generalises: on how many problems each has the lowest median test loss; no result counts as infinite."""
    test = study.last.get("test_loss")
    if test is None:
        return []
    lowest: Counter[str] = Counter()
    problems = 0
    for problem in study.problems:
        cells = {label: study.cells[problem, label] for label in study.labels if (problem, label) in study.cells}
        medians = {label: cell_median(test[rows], study.no_result[rows]) for label, rows in cells.items()}
        least = min(medians.values(), default=math.inf)
        if len(cells) > 1 and math.isfinite(least):
            problems += 1
            lowest.update(label for label, value in medians.items() if value == least)
    if not problems:
        return []
    counts = [f"{label} on {count}" for label, count in lowest.most_common()]
    of = f"{plural(problems, 'problem')} with test data"
    return [f"The lowest median test loss at the budget, of {of}: {listed(counts)}."]
