"""Each problem by itself: what it is, what each target cost, what was reached at the budget, what is proved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.report import charts as charts_of
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.kinds import kind_of
from optbench.report.analysis.statistics import Interval, coverage
from optbench.report.analysis.tuning import rated
from optbench.report.figures import overview
from optbench.report.format import DASH, between, listed, number, percent, plain, plural, records_of, target_name
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences import certificates

RATE, FINAL = {"title": "learning rate", "log": True}, {"title": "final loss", "log": True}
GAPS = (
    "Training loss at the budget above the best known, or above the lowest seen. A cross is infinite: most trials have "
    "no result. "
    "An arrow lies beyond the axis."
)


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    study = findings.study
    if not len(study.trials):
        return None
    proofs = findings.certificates
    problems = [
        {
            "name": problem,
            "about": _about(study.facts.get(problem, {}), len(study.splits[problem])),
            "reference": certificates.reference(study, problem),
            "certificates": certificates.sentences(study, problem, proofs),
        }
        for problem in study.problems
    ]
    tables = {}
    second = findings.generalising.finals if findings.generalising else findings.finals
    for k, problem in enumerate(study.problems, 1):
        if len(regrets := certificates.regrets(study, problem, proofs)):
            tables[f"regrets_{k}"] = regrets
        tables[f"costs_{k}"] = _costs(findings.costs, problem)
        tables[f"finals_{k}"] = _finals(findings.finals, problem, second, study.unit)
    views = {f"problem={one['name']}": _view(findings, one, tables, k) for k, one in enumerate(problems, 1)}
    tables["problems"] = _overview(findings, problems)
    charts = {"gaps": charts_of.gaps(findings.finals, study.problems)}
    numbers = {"finals": findings.finals, "certificates": proofs}
    figures = overview.gaps(study, drawing.labels, drawing.styles, findings.finals)
    return Content({"problems": problems, "unit": study.unit}, numbers, tables, charts, views, figures, {"gaps": GAPS})


def _overview(findings: Findings, problems: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a problem: its kind and size, the lowest loss known, and who ends lowest."""
    study, finals = findings.study, findings.finals
    rows = []
    for problem in problems:
        name = problem["name"]
        fact, (best, source) = study.facts.get(name, {}), study.best(name)
        part = finals[(finals["problem"] == name) & np.isfinite(finals["loss"])]
        lowest = part.loc[part["loss"] == part["loss"].min(), "label"] if len(part) else []
        row = {"problem": name, "kind": kind_of(name, fact), "parameters": str(fact.get("dim") or "unknown")}
        row |= {"best loss": number(best), "that is": source}
        row |= {"ends lowest": listed([plain(label, study.labels) for label in lowest], maximum=3) or DASH}
        row["its median share left"] = percent(float(part["left"].min())) if len(part) else DASH
        rows.append(row)
    return pd.DataFrame(rows)


def _view(findings: Findings, problem: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], k: int) -> dict[str, Any]:
    """What the page shows under the address of one problem."""
    name = problem["name"]
    fact = findings.study.facts.get(name, {})
    chosen = findings.choices[findings.choices["problem"] == name].sort_values("select", kind="stable")
    settings = [
        {"optimizer": row["label"], "setting (seeds)": row["chosen"], "median loss": number(row["select"], "∞")}
        for row in records_of(chosen)
    ]
    found = {
        "regrets": tables.get(f"regrets_{k}", pd.DataFrame()),
        "costs": tables[f"costs_{k}"],
        "finals": tables[f"finals_{k}"],
        "chosen": pd.DataFrame(settings),
    }
    tried = findings.tried
    rates = rated(tried[tried["problem"] == name]) if len(tried) else tried
    chart = charts_of.panels(rates, "rate", "final", RATE, FINAL, "other_settings") if len(rates) else None
    return {
        **problem,
        "unit": findings.study.unit,
        "network": _layers(fact),
        "data": _data_said(fact),
        "tables": found,
        "charts": {"rates": chart, **charts_of.data(fact)},
    }


def _layers(fact: Mapping[str, Any]) -> list[dict[str, str]]:
    """The layers of the network as its drawing shows them; none where the run did not record them."""
    found = fact.get("network")
    if not isinstance(found, list):
        return []
    return [
        {"kind": str(one["kind"]), "shapes": f"{_shape(one['in'])} → {_shape(one['out'])}"}
        | {"parameters": f"{int(one['parameters']):,}" if one["parameters"] else ""}
        for one in found
    ]


def _shape(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes)) or "1"  # noqa: RUF001  # the sign for sizes


def _data_said(fact: Mapping[str, Any]) -> str:
    """The shapes of a training sample, in a sentence."""
    shapes = (fact.get("data") or {}).get("shapes") or []
    return f"Shape of a training sample: {listed([_shape(shape) for shape in shapes])}." if shapes else ""


def _about(fact: dict[str, Any], divisions: int) -> str:
    """A problem in one line. divisions: of its data, that trials used."""
    if not fact:
        return "Nothing is known of this problem but its records."
    parts = [str(fact.get("summary") or "").rstrip(".")]
    parts.append(f"{fact.get('track', '')} track, loss {fact.get('loss', 'unknown')}")
    parts.append(plural(int(fact.get("dim") or 0), "parameter"))
    splits = [f"{fact[name]} {name}" for name in ("train", "valid", "test") if fact.get(name)]
    parts.append(f"samples: {listed(splits)}" if splits else "")
    parts.append(f"{divisions} such splits of the data" if divisions > 1 else "")
    parts.append(f"minibatch {fact['batch']}" if fact.get("batch") else "full batch")
    return "; ".join(part for part in parts if part) + "."


def _costs(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    """Cost to target on one problem: a row an optimizer, a column a target: median passes [interval] · hits/trials."""
    part = table[table["problem"] == problem]
    rows: dict[str, dict[str, str]] = {}
    for cell in records_of(part):
        value = Interval(cell["passes"], cell["passes_low"], cell["passes_high"], coverage(cell["trials"]))
        row = rows.setdefault(str(cell["label"]), {"optimizer": str(cell["label"])})
        row[f"{target_name(cell['tau'])} ({number(cell['target_loss'])})"] = (
            f"{between(value)} · {cell['hits']}/{cell['trials']}"
        )
    return pd.DataFrame(list(rows.values()))


def _finals(table: pd.DataFrame, problem: str, second: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Best at budget on one problem: a row an optimizer.

    second: the finals of what is chosen on validation: losses and metrics on validation and test are taken from it.
    """
    part = table[table["problem"] == problem]
    other = second[second["problem"] == problem]
    metrics = [name for name in other.columns if name.startswith(("valid_", "test_")) and other[name].notna().any()]
    held_out = {row["label"]: row for row in records_of(other)}
    rows = []
    for cell in records_of(part):
        level = coverage(cell["trials"])
        row = {"optimizer": cell["label"], f"budget ({unit})": number(cell["budget"])}
        for name, title in (("loss", "final loss"), ("gap", "above best")):
            interval = Interval(cell[name], cell[f"{name}_low"], cell[f"{name}_high"], level)
            row[title] = between(interval, never="∞")
        row["lowest by then"] = number(cell["best_loss"], never="∞")
        row["share left"] = "∞" if cell["left"] == math.inf else percent(cell["left"])
        own = held_out.get(cell["label"], {})
        row |= {name.replace("_", " "): number(own.get(name, math.nan), never="∞") for name in metrics}
        row["no result"] = f"{cell['no_result']}/{cell['trials']}"
        rows.append(row)
    return pd.DataFrame(rows)


SECTION = Section("problems", "Problems", content)
