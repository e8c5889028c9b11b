"""Two or more folders, cell by cell: did anything get worse? Seeds are the unit here, for the cells are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from optbench.report.analysis.ranking import ROPE
from optbench.report.analysis.statistics import Array, holm, welch_worse
from optbench.report.analysis.study import Study

MIN_DECADES = 0.1  # of the loss left: a final gap within a factor of 1.26 is practically the same
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """Every later folder against the first.

    table: a row a cell in both folders, by folder, worst first; `change` is "worse", "better" or "not told apart".
    only: {(folder with it, folder without it): cells}, where there are some. differ: what else the folders differ in.
    """

    base: str
    others: Sequence[str]
    table: pd.DataFrame
    only: Mapping[tuple[str, str], int]
    differ: Sequence[str]

    def worse(self) -> pd.DataFrame:
        """The cells that got worse."""
        return self.table[self.table["change"] == "worse"]


def compare(study: Study) -> Comparison | None:
    """Every later folder against the first; None for one folder."""
    if len(study.names) < 2:
        return None
    base, *others = study.names
    tables, only = [], {}
    for name in others:
        sides = {side: cells_of(study, side) for side in (base, name)}
        tables.append(_cells(study, sides[base], sides[name], name))
        for a, b in ((base, name), (name, base)):
            if count := len(sides[a].keys() - sides[b].keys()):
                only[a, b] = count
    return Comparison(base, others, pd.concat(tables, ignore_index=True), only, _differences(study))


Cells = dict[tuple[str, str], np.ndarray]


def _cells(study: Study, base: Cells, other: Cells, name: str) -> pd.DataFrame:
    """The common cells with their tests, worst first."""
    both = [key for key in base if key in other]
    quality = _quality(study)
    data = []
    for key in both:
        before, after = base[key], other[key]
        row = {"problem": key[0], "optimizer": key[1], "folder": name, "tested": min(len(before), len(after)) > 1}
        for measure, values, floor in (("score", study.score, ROPE), ("decades", quality, MIN_DECADES)):
            a, b = values[before], values[after]
            known = bool(np.isfinite(a).all() and np.isfinite(b).all())
            row |= {f"{measure}_before": float(a.mean()), f"{measure}_after": float(b.mean())}
            row[f"{measure}_p_worse"] = welch_worse(a, b, floor) if known else 1.0
            row[f"{measure}_p_better"] = welch_worse(b, a, floor) if known else 1.0
        row |= {"no_result_before": int(study.no_result[before].sum())}
        row |= {"no_result_after": int(study.no_result[after].sum())}
        data.append(row)
    return _judged(pd.DataFrame(data)) if data else pd.DataFrame(columns=["tested", "change"])


def cells_of(study: Study, folder: str) -> Cells:
    """(problem, label without the folder's mark) -> rows of that folder."""
    where = study.trials["folder"].to_numpy() == folder
    mark = f" ({folder})"
    out = {}
    for (problem, label), cell in study.cells.items():
        if where[cell[0]]:
            out[problem, label.removesuffix(mark)] = cell
    return out


def _quality(study: Study) -> Array:
    """Decades of the way from start to best known loss gone by the end, (trials,); -1 for a trial without a result."""
    left = study.trials["left"].to_numpy(dtype=float)
    decades = -np.log10(np.clip(left, 1e-9, 10.0))
    return np.asarray(np.where(study.no_result & ~np.isnan(left), -1.0, decades))


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Holm over all cells and both measures, then the change in words; worst first."""
    n = len(table)
    for way in ("worse", "better"):
        adjusted = holm(np.concatenate([table[f"score_p_{way}"], table[f"decades_p_{way}"]]))
        table[f"score_p_{way}"], table[f"decades_p_{way}"] = adjusted[:n], adjusted[n:]
    score = table["score_after"] - table["score_before"]
    decades = table["decades_after"] - table["decades_before"]
    worse = ((table["score_p_worse"] < ALPHA) & (score < -ROPE)) | (
        (table["decades_p_worse"] < ALPHA) & (decades < -MIN_DECADES)
    )
    better = ((table["score_p_better"] < ALPHA) & (score > ROPE)) | (
        (table["decades_p_better"] < ALPHA) & (decades > MIN_DECADES)
    )
    table["change"] = np.select([worse, better], ["worse", "better"], "not told apart")
    place = np.lexsort([score.fillna(0.0), worse.map({True: 0, False: 1})])
    return table.iloc[place].reset_index(drop=True)


def _differences(study: Study) -> list[str]:
    """What else differs between the folders and may explain a change."""
    out = []
    for what, place in (("machine", "machine"), ("library versions", "versions"), ("optbench version", "optbench")):
        values = [environment.get(place) for environment in study.environments]
        if any(value != values[0] for value in values):
            out.append(what)
    return out
