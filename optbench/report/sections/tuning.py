"""What was chosen for tuned optimizers, what the trying cost, and what each further setting is worth."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from optbench.report import charts as charts_of
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.tuning import rated
from optbench.report.figures import tuning
from optbench.report.format import DASH, listed, number, records_of
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sections.problems import FINAL, RATE

CHOSEN = (
    "Every setting was run on every seed. A seed is reported with the setting that does best on the other seeds: on "
    "training loss where the question is who minimises fast, on validation loss where it is what generalises, "
    "so that no seed decides on the setting it is reported with. Test data choose nothing. The number after a "
    "setting is that of the seeds it was chosen for. As many settings were drawn (Sobol) for each optimizer that "
    "declares a search space. The cost of tuning is that of all trials with all settings, failed ones included."
)
CAPTIONS = {
    "best_of_k": "Expected final training loss of the best of k settings tried, by k.",
    "score_by_cost": "Expected score with the best of k settings against what trying k of them costs, k = 1, 2, and so "
    "on: what tuning buys at its price. The best is that of the lowest median training loss over all seeds.",
    "rates": "Median final training loss against the learning rate; a gap is a rate at which most trials failed. "
    "A line joins settings that differ in nothing else.",
}


TRIED, LOSS = {"title": "settings tried", "log": False}, {"title": "expected loss", "log": True}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where nothing was tuned and no optimizer ran with three settings."""
    asked = [findings, *([findings.generalising] if findings.generalising else [])]
    choices = pd.concat([one.choices for one in asked], ignore_index=True)
    best = pd.concat([one.best_of_k for one in asked], ignore_index=True)
    bought = findings.score_by_cost
    numbers = {"settings": findings.tried, "best_of_k": best, "score_by_cost": bought, "chosen": choices}
    if not len(findings.choices) and not len(findings.tried):
        return None
    figures = tuning.figures(findings.tried, findings.best_of_k, drawing.styles, findings.ranking.order)
    order = findings.ranking.order
    figures = {"score_by_cost": partial(tuning.score_by_cost, bought, drawing.styles, order), **figures}
    charts = {
        "score_by_cost": charts_of.score_by_cost(bought),
        "best_of_k": charts_of.panels(findings.best_of_k, "k", "expected", TRIED, LOSS),
        "rates": charts_of.panels(rated(findings.tried), "rate", "final", RATE, FINAL, "other_settings"),
    }
    tables = {"chosen": _chosen(choices), "tuning": _best_of_k(best)}
    return Content({"about": _about(best), "chosen": CHOSEN}, numbers, tables, charts, {}, figures, CAPTIONS)


def _about(best: pd.DataFrame) -> str:
    if not len(best):
        return ""
    ways = best[["selected_on", "reported_on"]].drop_duplicates().to_numpy()
    how = listed([f"chosen on {selected} loss and reported on {reported} loss" for selected, reported in ways])
    return (
        f"Settings are {how}. Each dot is exact, not resampled. "
        "A curve begins where enough settings have been tried that a failed one is never chosen."
    )


def _chosen(table: pd.DataFrame) -> pd.DataFrame:
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
                "median training loss": number(row["training_loss"], never="∞"),
                "no result while tuning": f"{row['no_result']}/{row['trials']}",
                "tuning cost (passes)": number(row["passes"]),
                "times what is reported": number(row["times"]),
            }
            for row in records_of(table)
        ]
    )


def _best_of_k(table: pd.DataFrame) -> pd.DataFrame:
    """Expected best of k: a row an optimizer and problem, a column a k."""
    out: dict[tuple[str, str, str], dict[str, Any]] = {}
    most = int(table["k"].max()) if len(table) else 0
    wanted = [k for k in (1, 2, 3, 5, 10, 20, 50) if k < most] + [most]
    for row in records_of(table):
        key = (str(row["optimizer"]), str(row["problem"]), str(row["selected_on"]))
        line = out.setdefault(key, {"optimizer": key[0], "problem": key[1]} | {f"best of {k}": DASH for k in wanted})
        if row["k"] in wanted:
            line[f"best of {row['k']}"] = number(row["expected"], never="∞")
        line["a setting costs (passes)"] = number(row["tuning_passes"] / row["k"])
        line["selected on"], line["reported on"] = row["selected_on"], row["reported_on"]
    return pd.DataFrame(list(out.values()))


SECTION = Section("tuning", "Tuning", content)
