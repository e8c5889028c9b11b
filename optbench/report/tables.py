"""Tables as a reader sees them: numbers with intervals as text, one row an optimizer or a cell."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from optbench.report.analysis.ranking import Ranking
from optbench.report.analysis.statistics import Interval, coverage
from optbench.report.analysis.study import Study
from optbench.report.format import DASH, between, number, percent, records_of, scaled, target_name


def summary(
    study: Study, standing: Ranking, costs: pd.DataFrame, finals: pd.DataFrame, statuses: pd.DataFrame
) -> pd.DataFrame:
    """A row an optimizer: trials, those lost, trials that reached each target, and the median share left."""
    rows = []
    unscored = [label for label in study.labels if label not in standing.iqm]
    for label in [*standing.order, *unscored]:
        part = statuses[statuses["label"] == label]
        score = between(standing.iqm[label]) if label in standing.iqm else DASH
        row: dict[str, Any] = {"optimizer": label, "score (IQM)": score, "family": study.families[label]}
        row |= {"problems": len(part)}
        row["trials"] = int(part["planned"].sum())
        row["lost"] = int(finals.loc[finals["label"] == label, "lost"].sum())
        for tau in study.taus:
            cells = costs[(costs["label"] == label) & (costs["tau"] == tau)]
            row[f"hits {100 * tau:g} %"] = f"{int(cells['hits'].sum())}/{int(cells['trials'].sum())}"
        left = finals.loc[finals["label"] == label, "left"].dropna()
        row["median share left"] = percent(float(left.median())) if len(left) else DASH
        if study.marks:
            row["tuning"] = study.marks.get(label, DASH)
        rows.append(row)
    return pd.DataFrame(rows)


def costs(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Cost to target on one problem: a row an optimizer, a column a target: median passes [interval] (hits/trials)."""
    part = table[table["problem"] == problem]
    rows: dict[str, dict[str, str]] = {}
    for cell in records_of(part):
        value = Interval(cell["passes"], cell["passes_low"], cell["passes_high"], coverage(cell["trials"]))
        row = rows.setdefault(str(cell["label"]), {"optimizer": str(cell["label"])})
        row[f"{target_name(cell['tau'])} ({number(cell['target_loss'])})"] = (
            f"{between(value)} · {cell['hits']}/{cell['trials']}"
        )
    return pd.DataFrame(list(rows.values()))


def finals(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Best at budget on one problem: a row an optimizer."""
    part = table[table["problem"] == problem]
    metrics = [name for name in part.columns if name.startswith(("valid_", "test_")) and part[name].notna().any()]
    rows = []
    for cell in records_of(part):
        level = coverage(cell["trials"])
        row = {"optimizer": cell["label"], "budget (passes)": number(cell["budget"])}
        for name, title in (("loss", "final loss"), ("gap", "above best")):
            interval = Interval(cell[name], cell[f"{name}_low"], cell[f"{name}_high"], level)
            row[title] = between(interval, never="∞")
        row["share left"] = "∞" if cell["left"] == math.inf else percent(cell["left"])
        row |= {name.replace("_", " "): number(cell[name], never="∞") for name in metrics}
        row["lost"] = f"{cell['lost']}/{cell['trials']}"
        rows.append(row)
    return pd.DataFrame(rows)


def speeds(table: pd.DataFrame) -> pd.DataFrame:
    """Throughput: a row a cell."""
    rows = []
    gpu = {"utilisation": "GPU use", "joules": "energy (J)"} if len(table) else {}
    gpu = {name: title for name, title in gpu.items() if table[name].notna().any()}
    for cell in records_of(table):
        rows.append(
            {
                "optimizer": cell["label"],
                "problem": cell["problem"],
                "clock": "alone" if cell["comparable"] else "shared",
                "seconds": number(cell["seconds"]),
                "samples/s": scaled(cell["samples_per_second"], ""),
                "candidates/s": scaled(cell["candidates_per_second"], ""),
                "FLOP/s": scaled(cell["flops_per_second"], ""),
                "of ceiling": percent(cell["share_of_ceiling"]),
                "peak memory": scaled(cell["peak_bytes"], "B"),
            }
            | {gpu[name]: percent(cell[name]) if name == "utilisation" else number(cell[name]) for name in gpu}
        )
    return pd.DataFrame(rows)


def statuses(table: pd.DataFrame, every: bool = False) -> pd.DataFrame:
    """How trials ended: the cells where something was lost or did not run as planned, or all."""
    if not len(table):
        return table
    names = [name for name in table.columns if name not in ("problem", "label", "planned", "reasons")]
    well = table[[name for name in names if name in ("spent", "finished")]].sum(axis=1)
    rows = table if every else table[(well < table["planned"]) | (table["reasons"] != "")]
    return rows.rename(columns={"label": "optimizer"})


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Every pair: what the evidence says of the first against the second."""
    out = []
    for row in records_of(table):
        chance = Interval(row["p_improvement"], row["p_improvement_low"], row["p_improvement_high"], 0.0)
        if math.isfinite(chance.low):
            chance = chance._replace(level=0.95)
        out.append(
            {
                "first": row["first"],
                "second": row["second"],
                "the first is": {"open": "not told apart", "same": "practically the same"}.get(
                    row["claim"], row["claim"]
                ),
                "problems won, lost, of": f"{row['wins']}, {row['losses']}, {row['problems']}",
                "P(better)": number(row["p_better"]),
                "P(same)": number(row["p_same"]),
                "P(worse)": number(row["p_worse"]),
                "Wilcoxon p": number(row["signed_rank_p"]),
                "Holm p": number(row["holm_p"]),
                "P(first ends lower)": between(chance),
            }
        )
    return pd.DataFrame(out)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """What was chosen for each problem, what it reached, and what the trying cost."""
    return pd.DataFrame(
        [
            {
                "optimizer": row["label"],
                "problem": row["problem"],
                "setting (seeds)": row["chosen"],
                "chosen on": f"{row['selected_on']} loss",
                "its median there": number(row["select"], never="∞"),
                "median test loss": number(row["test_loss"], never="∞"),
                "median training loss": number(row["final"], never="∞"),
                "lost while tuning": f"{row['lost']}/{row['trials']}",
                "tuning cost (passes)": number(row["passes"]),
                "times what is reported": number(row["times"]),
            }
            for row in records_of(table)
        ]
    )


def tuning(table: pd.DataFrame) -> pd.DataFrame:
    """Expected best of k: a row an optimizer and problem, a column a k."""
    out: dict[tuple[str, str], dict[str, Any]] = {}
    most = int(table["k"].max()) if len(table) else 0
    wanted = [k for k in (1, 2, 3, 5, 10, 20, 50) if k < most] + [most]
    for row in records_of(table):
        key = (str(row["optimizer"]), str(row["problem"]))
        line = out.setdefault(key, {"optimizer": key[0], "problem": key[1]} | {f"best of {k}": DASH for k in wanted})
        if row["k"] in wanted:
            line[f"best of {row['k']}"] = number(row["expected"], never="∞")
        line["a setting costs (passes)"] = number(row["tuning_passes"] / row["k"])
        line["selected on"], line["reported on"] = row["selected_on"], row["reported_on"]
    return pd.DataFrame(list(out.values()))
