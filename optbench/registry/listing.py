"""What there is, from the tables alone: read by `list`, which must answer before torch could be imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tomllib
from pathlib import Path

from optbench.core.trial import RequestError
from optbench.optimizers import OPTIMIZERS
from optbench.problems import PROBLEMS, data_files
from optbench.registry.specs import nearest

KINDS = ("problems", "optimizers", "suites")
Rows = list[dict[str, str]]


def listing() -> dict[str, Rows]:
    """{"problems" | "optimizers" | "suites": [{name, kind, summary}]}; `install` where a wrapped package is absent.

    `data` where a problem reads files that the package does not carry: "ready", or the command that says what lacks.
    """
    problems, optimizers = [], []
    for name, entry in PROBLEMS.items():
        row = {"name": name, "kind": entry.track, "summary": entry.summary}
        if entry.package and importlib.util.find_spec(entry.package) is None:
            row["install"] = f"'optbench[{entry.extra}]'"
        if entry.data_set:
            row["data"] = "ready" if data_files.is_ready(entry.data_set) else f"optbench data {entry.data_set}"
        problems.append(row)
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


def filtered(
    found: dict[str, Rows], words: list[str], track: str | None = None, family: str | None = None
) -> dict[str, Rows]:
    """A part of a listing.

    words: first, if anything, a kind; then text that name or summary must contain, whatever its case. track: problems
    of it alone. family: optimizers of it alone. Raises RequestError for a family that there is not.
    """
    kinds = list(KINDS)
    if words and words[0] in KINDS:
        kinds = [words[0]]
        words = words[1:]
    elif track or family:
        kinds = [kind for kind, asked in (("problems", track), ("optimizers", family)) if asked]
    families = dict.fromkeys(row["kind"] for row in found["optimizers"])
    if family and family not in families:
        raise RequestError(f"--family {family}: {nearest(family, families, '')}; there are {', '.join(families)}")
    wanted = {"problems": track, "optimizers": family}
    return {
        kind: [
            row
            for row in found[kind]
            if wanted.get(kind) in (None, row["kind"])
            and all(word.lower() in f"{row['name']} {row['summary']}".lower() for word in words)
        ]
        for kind in kinds
    }
