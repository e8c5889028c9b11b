"""Where the numbers come from, and how to make them again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.time_spent import machines
from optbench.report.format import listed, number, percent, plural, records_of
from optbench.report.sections.base import Content, Drawing, Section


def content(findings: Findings, drawing: Drawing) -> Content:
    """A paragraph a folder, and a row for every machine of a cluster."""
    found = machines(findings.study)
    values = {
        "origins": [_origin(environment) for environment in findings.study.environments],
        "clocks": clocks(found),
        "others": others(findings.study.environments),
    }
    if not len(found):
        return Content(values)
    return Content(values, {"machines": found}, {"machines": _machines(found)})


def clocks(found: pd.DataFrame) -> str:
    """On which machines of a cluster trials ran alone for their clock."""
    alone = found[found["timed_alone"] > 0]
    if not len(alone):
        return ""
    kinds = alone[["cpu", "cores", "gpu"]].astype(str).drop_duplicates()
    names = listed([str(name) for name in alone["machine"]])
    if len(kinds) > 1:
        return (
            f"Trials ran alone for their clock on machines of {len(kinds)} kinds ({names}): seconds must not be "
            "compared between them."
        )
    first = alone.iloc[0]
    cores = plural(int(first["cores"]), "core") if first["cores"] else ""
    kind = ", ".join(part for part in (str(first["cpu"] or ""), cores, str(first["gpu"] or "")) if part)
    return f"Trials ran alone for their clock on {names}: one at a time on a machine, all of one kind ({kind})."


def others(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """The machine and versions of every machine of a cluster, a line each."""
    found = [
        one for environment in environments for one in environment.get("machines") or [] if one and one.get("name")
    ]
    return list(dict.fromkeys(f"{one['name']}: {_machine(one)}" for one in found))


def _machines(found: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "machine": row["machine"],
            "trials": str(row["trials"]),
            "timed alone": str(row["timed_alone"]),
            "worker's hours": number(row["hours"]),
            "utilisation": percent(row["utilisation"]),
            "at a time": str(row["slots"]),
        }
        for row in records_of(found)
    ]
    return pd.DataFrame(rows)


def _origin(environment: dict[str, Any]) -> dict[str, str]:
    ceilings = (environment.get("ceiling_flops_per_second") or {}).items()
    more = [f"{environment[name]} {name}" for name in ("threads", "workers") if environment.get(name)]
    more += [f"matrix-product ceiling {number(value / 1e9)} GFLOP/s ({device})" for device, value in ceilings if value]
    return {
        "machine": _machine(environment),
        "command": str(environment.get("command") or "unknown: environment.json does not say"),
        "more": "; ".join(more),
    }


def _machine(environment: Mapping[str, Any]) -> str:
    """The machine and versions in one line."""
    host = environment.get("machine") or {}
    memory = host.get("memory_bytes")
    parts = [str(host.get("cpu") or "unknown processor"), plural(host["cores"], "core") if host.get("cores") else ""]
    parts.append(f"{memory / 1e9:.3g} GB" if isinstance(memory, int | float) and math.isfinite(memory) else "")
    parts += [str(host.get("gpu") or "no GPU"), str(host.get("os") or "")]
    versions = [f"{name} {version}" for name, version in (environment.get("versions") or {}).items()]
    return ", ".join(part for part in parts if part) + ("; " + listed(versions) if versions else "")


SECTION = Section("machine", "Machine and how to reproduce", content)
