"""Two or more folders, cell by cell: did anything get worse? Seeds are the unit here, for the cells are the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from optbench.report.analysis.ranking import ROPE
from optbench.report.analysis.statistics import Array, holm, welch_worse
from optbench.report.analysis.study import Study
from optbench.report.format import listed, number, plural, records_of

DECADE = 0.1  # of the loss left: a final gap within a factor of 1.26 is practically the same
ALPHA = 0.05


@dataclass(frozen=True)
class Comparison:
    """table: a row a cell in both folders; the sentences that follow from it, and those that are regressions."""

    table: pd.DataFrame
    about: str
    sentences: list[str]
    regressions: list[str]


def compare(study: Study) -> Comparison | None:
    """Every later folder against the first; None for one folder."""
    if len(study.names) < 2:
        return None
    base = study.names[0]
    data, sentences, regressions = [], _differences(study), list[str]()
    for name in study.names[1:]:
        table, loose = _cells(study, base, name)
        data.append(table)
        worse, better = (table[table["change"] == word] for word in ("worse", "better"))
        text = f"{name} against {base}: of {plural(len(table), 'common cell')}, {len(worse)} got worse"
        text += f" and {len(better)} better beyond chance and beyond practical equivalence"
        sentences.insert(len(data) - 1, text + (f"; {loose}." if loose else "."))
        regressions += [_sentence(row, base, name) for row in records_of(worse)]
        if not table["tested"].any() and len(table):
            sentences.append(f"No cell of {name} has two seeds on both sides, so nothing could be tested.")
    table = pd.concat(data, ignore_index=True)
    about = (
        "Each cell's seeds before and after: Welch's test on the anytime score and on the decades of loss left at the "
        f"budget, one-sided p corrected (Holm) over all cells and both measures; a change counts below p = {ALPHA:g} "
        f"and beyond {ROPE:g} of score or {DECADE:g} decades. Lost trials score 0 and end one decade above the start."
    )
    return Comparison(table, about, [*sentences, *regressions], regressions)


def _cells(study: Study, base: str, name: str) -> tuple[pd.DataFrame, str]:
    """The common cells with their tests, worst first, and what only one side holds."""
    sides = {side: _by_cell(study, side) for side in (base, name)}
    both = [key for key in sides[base] if key in sides[name]]
    quality = _quality(study)
    data = []
    for key in both:
        before, after = sides[base][key], sides[name][key]
        row = {"problem": key[0], "optimizer": key[1], "folder": name, "tested": min(len(before), len(after)) > 1}
        for measure, values, floor in (("score", study.score, ROPE), ("decades", quality, DECADE)):
            a, b = values[before], values[after]
            known = bool(np.isfinite(a).all() and np.isfinite(b).all())
            row |= {f"{measure}_before": float(a.mean()), f"{measure}_after": float(b.mean())}
            row[f"{measure}_p_worse"] = welch_worse(a, b, floor) if known else 1.0
            row[f"{measure}_p_better"] = welch_worse(b, a, floor) if known else 1.0
        row |= {"lost_before": int(study.lost[before].sum()), "lost_after": int(study.lost[after].sum())}
        data.append(row)
    table = _judged(pd.DataFrame(data)) if data else pd.DataFrame(columns=["tested", "change"])
    alone = [f"{len(sides[a].keys() - sides[b].keys())} only in {a}" for a, b in ((base, name), (name, base))]
    return table, listed([text for text in alone if not text.startswith("0 ")])


def _by_cell(study: Study, folder: str) -> dict[tuple[str, str], np.ndarray]:
    """(problem, label without the folder's mark) -> rows of that folder."""
    where = study.trials["folder"].to_numpy() == folder
    mark = f" ({folder})"
    out = {}
    for (problem, label), cell in study.cells.items():
        if where[cell[0]]:
            out[problem, label.removesuffix(mark)] = cell
    return out


def _quality(study: Study) -> Array:
    """Decades of the way from the start to the best known loss gone by the end, (trials,); -1 for a lost trial."""
    left = study.trials["left"].to_numpy(dtype=float)
    decades = -np.log10(np.clip(left, 1e-9, 10.0))
    return np.asarray(np.where(study.lost & ~np.isnan(left), -1.0, decades))


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Holm over all cells and both measures, then the change in words; worst first."""
    n = len(table)
    for way in ("worse", "better"):
        adjusted = holm(np.concatenate([table[f"score_p_{way}"], table[f"decades_p_{way}"]]))
        table[f"score_p_{way}"], table[f"decades_p_{way}"] = adjusted[:n], adjusted[n:]
    score = table["score_after"] - table["score_before"]
    decades = table["decades_after"] - table["decades_before"]
    worse = ((table["score_p_worse"] < ALPHA) & (score < -ROPE)) | (
        (table["decades_p_worse"] < ALPHA) & (decades < -DECADE)
    )
    better = ((table["score_p_better"] < ALPHA) & (score > ROPE)) | (
        (table["decades_p_better"] < ALPHA) & (decades > DECADE)
    )
    table["change"] = np.select([worse, better], ["worse", "better"], "not told apart")
    place = np.lexsort([score.fillna(0.0), worse.map({True: 0, False: 1})])
    return table.iloc[place].reset_index(drop=True)


def _sentence(row: dict[str, object], base: str, name: str) -> str:
    values = {key: float(str(row[key])) for key in row if key.startswith(("score_", "decades_"))}
    text = f"Regression: {row['optimizer']} on {row['problem']} got worse from {base} to {name}: score "
    text += f"{number(values['score_before'])} to {number(values['score_after'])}"
    text += f" (p = {number(values['score_p_worse'])}), decades gone {number(values['decades_before'])} to "
    text += f"{number(values['decades_after'])} (p = {number(values['decades_p_worse'])})"
    lost = f"{row['lost_before']} to {row['lost_after']}"
    return text + (f", lost trials {lost}." if row["lost_before"] != row["lost_after"] else ".")


def _differences(study: Study) -> list[str]:
    """What else differs between the folders and may explain a change."""
    out = []
    for what, place in (("machine", "machine"), ("library versions", "versions"), ("optbench version", "optbench")):
        values = [environment.get(place) for environment in study.environments]
        if any(value != values[0] for value in values):
            out.append(f"The folders differ in {what}: seconds and rates are not comparable between them.")
    return out


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison as text."""
    out = []
    for row in records_of(table):
        out.append(
            {
                "optimizer": row["optimizer"],
                "problem": row["problem"],
                "folder": row["folder"],
                "change": row["change"] if row["tested"] else "not tested: one seed",
                "score": f"{number(row['score_before'])} → {number(row['score_after'])}",
                "p worse": number(row["score_p_worse"]),
                "decades gone": f"{number(row['decades_before'])} → {number(row['decades_after'])}",
                "p worse (decades)": number(row["decades_p_worse"]),
                "lost": f"{row['lost_before']} → {row['lost_after']}",
            }
        )
    return pd.DataFrame(out)
