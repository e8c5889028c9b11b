"""The first thing on the page: who reached what, at which cost, in plain sentences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from optbench.report.study import Study
from optbench.report.words import between, listed, plural, target_name
from optbench.stats import median_interval


def verdict(study: Study, costs: pd.DataFrame) -> list[str]:
    """Plain sentences, never empty."""
    out = completeness(study)
    if not len(study.trials):
        return out
    if not len(costs):
        return [*out, "No targets are stated, so no cost to target can be given; see the final losses below."]
    tau = headline(study)
    out += [_reached(study, costs, label, tau) for label in _ordered(study, costs, tau)]
    return out


def completeness(study: Study) -> list[str]:
    """What is missing or was lost, before anything is concluded from the rest."""
    total = len(study.trials)
    if not total:
        return ["There are no records and no plan: nothing has been measured yet."]
    out = []
    missing = study.incomplete()
    if missing == total:
        out.append(f"None of the {plural(total, 'planned trial')} has a record yet.")
    elif missing:
        out.append(
            f"The run is incomplete: {missing} of {plural(total, 'planned trial')} left no record. "
            "They count as not having reached any target."
        )
    lost = int(study.lost.sum()) - missing
    if lost and lost == total - missing:
        out.append(f"Every one of the {plural(lost, 'recorded trial')} failed or does not apply; nothing was compared.")
    return out


def headline(study: Study) -> float:
    """The target the verdict speaks of: 1 % where there is one, else the hardest."""
    return 0.01 if 0.01 in study.taus else study.taus[-1]


def _ordered(study: Study, costs: pd.DataFrame, tau: float) -> list[str]:
    """Labels by trials that hit the target, most first."""
    part = costs[costs["tau"] == tau].groupby("label")["hits"].sum()
    return sorted((label for label in study.labels if label in part.index), key=lambda label: -part[label])


def _reached(study: Study, costs: pd.DataFrame, label: str, tau: float) -> str:
    cells = costs[(costs["label"] == label) & (costs["tau"] == tau)]
    solved = cells[2 * cells["hits"] > cells["trials"]]
    share = f"{label} reached the {target_name(tau)} on {len(solved)} of {plural(len(cells), 'problem')}"
    share += f" ({int(cells['hits'].sum())} of {plural(int(cells['trials'].sum()), 'trial')})"
    if not len(solved):
        return share + "."
    median = median_interval(solved["passes"])
    if len(solved) == 1:
        return f"{share}, at {between(median)} passes."
    return f"{share}, at a median of {between(median)} passes over those."


def solved_problems(study: Study, label: str, tau: float) -> list[str]:
    """Problems where more than half of the label's planned trials hit the target."""
    k = study.taus.index(tau)
    out = []
    for problem in study.problems:
        cell = study.cells.get((problem, label))
        if cell is not None and 2 * int(np.isfinite(study.passes_to[cell, k]).sum()) > len(cell):
            out.append(problem)
    return out


def machine(environment: dict[str, Any]) -> str:
    """The machine and versions in one line."""
    host = environment.get("machine") or {}
    memory = host.get("memory_bytes")
    parts = [str(host.get("cpu") or "unknown processor"), plural(host["cores"], "core") if host.get("cores") else ""]
    parts.append(f"{memory / 1e9:.3g} GB" if isinstance(memory, int | float) and math.isfinite(memory) else "")
    parts += [str(host.get("gpu") or "no GPU"), str(host.get("os") or "")]
    versions = [f"{name} {version}" for name, version in (environment.get("versions") or {}).items()]
    return ", ".join(part for part in parts if part) + ("; " + listed(versions) if versions else "")
