"""What there is, from the tables alone: read by `list`, which must answer before torch could be imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS


def listing() -> dict[str, list[dict[str, str]]]:
    """{"problems" | "optimizers" | "suites": [{name, kind, summary}]}; `install` where a wrapped package is absent."""
    problems = [{"name": n, "kind": entry.track, "summary": entry.summary} for n, entry in PROBLEMS.items()]
    optimizers = []
    for name, tool in OPTIMIZERS.items():
        row = {"name": name, "kind": tool.family, "summary": tool.summary}
        if tool.extra and importlib.util.find_spec(tool.extra.partition("==")[0].replace("-", "_")) is None:
            row["install"] = tool.extra
        optimizers.append(row)
    for group, rows in (("problems", problems), ("optimizers", optimizers)):
        for point in importlib.metadata.entry_points(group=f"optbench.{group}"):
            rows.append({"name": point.name, "kind": "plugin", "summary": f"from {point.value}"})
    suites = []
    for path in sorted((Path(__file__).parents[1] / "suites").glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        size = f"{len(data['problems'])} x {len(data['optimizers'])}"
        suites.append({"name": path.stem, "kind": size, "summary": data.get("description", "")})
    return {"problems": problems, "optimizers": optimizers, "suites": suites}
