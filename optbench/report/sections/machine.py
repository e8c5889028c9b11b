"""Where the numbers come from, and how to make them again."""

from __future__ import annotations

import math
from typing import Any

from optbench.report.analysis.findings import Findings
from optbench.report.format import listed, number, plural
from optbench.report.sections.base import Content, Drawing, Section


def content(findings: Findings, drawing: Drawing) -> Content:
    """A paragraph a folder."""
    return Content({"origins": [_origin(environment) for environment in findings.study.environments]})


def _origin(environment: dict[str, Any]) -> dict[str, str]:
    ceilings = (environment.get("ceiling_flops_per_second") or {}).items()
    more = [f"{environment[name]} {name}" for name in ("threads", "workers") if environment.get(name)]
    more += [f"matrix-product ceiling {number(value / 1e9)} GFLOP/s ({device})" for device, value in ceilings if value]
    return {
        "machine": _machine(environment),
        "command": str(environment.get("command") or "unknown: environment.json does not say"),
        "more": "; ".join(more),
    }


def _machine(environment: dict[str, Any]) -> str:
    """The machine and versions in one line."""
    host = environment.get("machine") or {}
    memory = host.get("memory_bytes")
    parts = [str(host.get("cpu") or "unknown processor"), plural(host["cores"], "core") if host.get("cores") else ""]
    parts.append(f"{memory / 1e9:.3g} GB" if isinstance(memory, int | float) and math.isfinite(memory) else "")
    parts += [str(host.get("gpu") or "no GPU"), str(host.get("os") or "")]
    versions = [f"{name} {version}" for name, version in (environment.get("versions") or {}).items()]
    return ", ".join(part for part in parts if part) + ("; " + listed(versions) if versions else "")


SECTION = Section("machine", "Machine and how to reproduce", content)
