"""What the page's curves are drawn from: bands on every axis; and how parts of the page are packed."""

from __future__ import annotations

import base64
import gzip
import json
import math
from typing import Any

import numpy as np

from optbench.report.analysis.bands import Bands
from optbench.report.analysis.statistics import Array
from optbench.report.analysis.study import Study

AXES = ("passes", "samples", "seconds")  # FLOPs are passes times the problem's FLOPs a pass
MAX_CELLS = 300  # cells beyond which the page keeps fewer points and metrics


def curves(study: Study) -> dict[str, dict[str, Any]]:
    """{problem: its bands on every axis}, as plain JSON values; infinity and NaN are null. Empty without a curve."""
    if not len(study.points):
        return {}
    many = len(study.cells) > MAX_CELLS
    columns = _metrics(study)[: 4 if many else 8]
    return {problem: _problem(study, problem, columns, 30 if many else 60) for problem in study.problems}


def _metrics(study: Study) -> list[str]:
    """The losses (training, validation, test), then other test metrics, then the rest; those that were recorded."""
    skip = {"trial", "passes", "forward", "backward", "seconds", "clock", "loss"}
    names = [name for name in study.points.columns if name not in skip and study.points[name].notna().any()]
    losses = [name for name in ("valid_loss", "test_loss") if name in names]
    rest = [name for name in names if name not in losses]
    return ["loss", *losses, *sorted(rest, key=lambda name: (not name.startswith("test_"), name))]


def _problem(study: Study, problem: str, columns: list[str], points: int) -> dict[str, Any]:
    fact = study.facts.get(problem, {})
    best, source = study.best(problem)
    zero = 0.0 if math.isnan(best) else best
    start = fact.get("start")
    out: dict[str, Any] = {"name": problem, "best": _null(best), "source": source, "metrics": columns, "axes": {}}
    out["start"] = start if isinstance(start, int | float) else None
    flops = fact.get("flops_per_pass")
    out["flops"] = flops if isinstance(flops, int | float) and flops > 0 else None
    for axis in AXES:
        every = Bands(study, problem, axis, points)
        curves: dict[str, Any] = {}
        shared = False
        for label in study.labels:
            found = {name: band for name in columns if (band := every.band(label, name)) is not None}
            if not found:
                continue
            shared |= not all(band.comparable for band in found.values())
            curves[label] = {
                # Losses go as gaps, or rounding would hide how close to the best they come.
                name: [_short(v - (zero if name == "loss" else 0.0)) for v in (band.middle, band.low, band.high)]
                for name, band in found.items()
            }
        out["axes"][axis] = {"cost": _short(every.grid), "curves": curves, "shared": shared}
    return out


def _short(values: Array) -> list[float | None]:
    """Four significant digits, which is finer than a pixel; null where not finite."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def packed(text: str | bytes) -> str:
    """gzip and base64, the same bytes every time; templates/scripts/inflate.js unpacks it."""
    raw = text.encode() if isinstance(text, str) else text
    return base64.b64encode(gzip.compress(raw, 9, mtime=0)).decode("ascii")


def packed_json(value: Any) -> str:
    return packed(json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in the page's data")
