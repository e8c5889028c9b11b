"""What the page's own pictures are drawn from: plain values that templates/scripts/chart.js takes.

A chart is {"kind", "label", ...}: "lines" and "strip" have panels or are one, "heat" is a table, "ranks" a diagram.
Infinity is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.analysis.study import Study
from optbench.report.format import records_of


def short(values: Iterable[float]) -> list[float | None]:
    """Four significant digits, which is finer than a pixel; null where not finite."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def targets(study: Study, labels: Sequence[str], costs: pd.DataFrame) -> dict[str, Any] | None:
    """Median passes to the headline target: a row a problem that states it, a column an optimizer."""
    if not len(costs):
        return None
    part = costs[(costs["tau"] == study.headline) & costs["label"].isin(list(labels))]
    if not len(part):
        return None
    table = part.pivot(index="problem", columns="label", values="passes")
    table = table.reindex(index=[p for p in study.problems if p in table.index], columns=list(labels))
    return {
        "kind": "heat",
        "rows": [*table.index],
        "columns": [*table.columns],
        "values": [short(row) for row in table.to_numpy(dtype=float)],
    }


def gaps(finals: pd.DataFrame, problems: Sequence[str]) -> dict[str, Any] | None:
    """Final loss above the best known, or the loss where none is, with its interval: a panel a problem."""
    panels = []
    for problem in problems:
        part = finals[finals["problem"] == problem] if len(finals) else finals
        if not len(part):
            continue
        name = "gap" if part["gap"].notna().any() else "loss"
        rows = [
            {"name": row["label"], "values": short([row[name]])}
            | dict(zip(("low", "high"), short([row[f"{name}_low"], row[f"{name}_high"]]), strict=True))
            for row in records_of(part)
            if not math.isnan(row[name])
        ]
        title = "final loss above best" if name == "gap" else "final loss"
        log = bool((part[name] > 0).any())
        panels.append({"title": problem, "rows": rows, "x": {"title": title, "log": log}})
    return {"kind": "strip", "panels": panels} if panels else None


RATES = {
    "samples_per_second": "samples a second",
    "candidates_per_second": "candidates a second",
    "share_of_ceiling": "share of the matrix-product ceiling",
    "peak_bytes": "peak memory above start (MB)",
}


def throughput(labels: Sequence[str], speeds: pd.DataFrame) -> dict[str, Any] | None:
    """Rates and memory: a mark a problem, a row an optimizer."""
    panels = []
    for name, title in RATES.items():
        scale = 1e6 if name == "peak_bytes" else 1.0
        rows = []
        for label in labels:
            values = speeds.loc[speeds["label"] == label, name].to_numpy(dtype=float) if len(speeds) else np.zeros(0)
            values = values[np.isfinite(values) & (values > 0)] / scale
            if len(values):
                rows.append({"name": label, "values": short(values)})
        if rows:
            panels.append({"title": title, "rows": rows, "x": {"title": title, "log": True}})
    return {"kind": "strip", "panels": panels} if panels else None


def ranks(order: Sequence[str], mean: Mapping[str, float], bars: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Mean ranks, the best first, and the runs of them (first, last) that are not told apart."""
    return {"kind": "ranks", "ranks": [[label, round(mean[label], 4)] for label in order], "bars": [*map(list, bars)]}


def panels(
    table: pd.DataFrame, x: str, y: str, across: Mapping[str, Any], up: Mapping[str, Any], split: str = ""
) -> dict[str, Any] | None:
    """Lines with dots, a panel a problem and a line an optimizer.

    split: a column by whose values the lines of one optimizer are told apart.
    """
    found = []
    if not len(table):
        return None
    for problem, part in table.groupby("problem", sort=False):
        lines = []
        for name, own in part.groupby("optimizer", sort=False):
            for _, line in own.groupby(split, sort=False) if split else [("", own)]:
                values = [float(v) for v in line[y]]
                lines.append({"name": name, "x": short(map(float, line[x])), "y": short(values), "dots": True})
        top = _top(part[y].to_numpy(dtype=float))
        found.append({"title": str(problem), "lines": lines, "y": dict(up) | ({"max": top} if top else {})})
    return {"kind": "lines", "x": dict(across), "y": dict(up), "panels": found} if found else None


def _top(values: np.ndarray) -> float | None:
    """Where an axis ends, so that one value that blew up does not set the scale."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    usual = 30 * float(np.quantile(finite, 0.5))
    return usual if 0 < usual < float(finite.max()) else None


def score_by_cost(table: pd.DataFrame) -> dict[str, Any] | None:
    """Expected score with the best of k settings against the passes that trying them costs."""
    if not len(table):
        return None
    lines = [
        {"name": name, "x": short(part["passes"]), "y": short(part["score"]), "dots": True}
        for name, part in table.groupby("optimizer", sort=False)
    ]
    return {
        "kind": "lines",
        "x": {"title": "passes for k tries (a seed, mean over problems)", "log": True},
        "y": {"title": "expected score", "log": False},
        "lines": lines,
    }


def data(fact: Mapping[str, Any]) -> dict[str, Any]:
    """Charts of what the run recorded of a problem's training data; none where it recorded nothing."""
    found: Mapping[str, Any] = fact.get("data") or {}
    out: dict[str, Any] = {}
    if targets := found.get("targets"):
        classes = targets["kind"] == "classes"
        counts = targets["counts"] if classes else [*targets["counts"], targets["counts"][-1]]
        line = {"x": targets["at"], "y": counts, "step": not classes, "bars": classes}
        up = {"title": "training samples", "log": False, "min": 0}
        out["targets"] = _one_line(line, "label" if classes else "target", up)
    if curve := found.get("curve"):
        line = {"x": curve["x"], "y": curve["y"], "dots": True}
        out["curve"] = _one_line(line, "input", {"title": "target", "log": False})
    if image := found.get("mean_image"):
        out["image"] = {"kind": "image", "values": image}
    return out


def _one_line(line: Mapping[str, Any], across: str, up: Mapping[str, Any]) -> dict[str, Any]:
    """A chart of one line that needs no name."""
    lines = [{"name": "training data", "colour": "#0072B2", "dash": "solid"} | dict(line)]
    return {"kind": "lines", "x": {"title": across, "log": False}, "y": dict(up), "lines": lines, "alone": True}
