"""Runs that somebody else's benchmark measured, as a result folder of ours, so that `report` reads them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optbench.bridges.packages import load
from optbench.core.trial import LOWEST_SEEN, RequestError, Trial, spec
from optbench.problems.outside import PRECISIONS
from optbench.records.files import ENVIRONMENT
from optbench.records.schema import Record
from optbench.records.store import Store
from optbench.registry.specs import parse

TAUS = (0.5, 0.1, 1e-2, 1e-3)  # targets: this share of the way from the start to the best is left


@dataclass(frozen=True)
class Run:
    """One run. curve: points with passes, forward, backward, seconds, loss and whatever else was measured."""

    problem: str
    optimizer: str  # its label, with settings
    curve: list[dict[str, float]]
    seed: int | None = None  # None: its number among the runs of its cell
    split: int = 0  # of the data of a problem that is ours
    status: str = "spent"
    device: str = "cpu"
    budget: float = 0.0
    passes: float = 0.0
    seconds: float = 0.0
    own_flops: int | None = None  # None: nobody counted the optimizer's own work
    evaluations: int = 0
    optimum: float | None = None  # the lowest loss, where it is known
    precisions: bool = True  # where it is, targets are COCO's; False: shares of the way from the start
    dimension: int = 1
    family: str = "foreign"
    summary: str = ""
    track: str = "function"


def spread(suite: str, function: int, name: str, dimension: int, instance: int) -> tuple[str, float]:
    """(what a function of another benchmark is called here, what its values are measured from).

    COCO's functions are `bbob` here, so their runs can be compared with ours; their values are those above the optimum.
    """
    if suite.lower() != "bbob":
        title = "_".join(part for part in (suite.replace(" ", "_"), f"f{function}", name) if part)
        return spec(title, {"d": dimension, "i": instance}), 0.0
    load("cocoex", "coco")
    from optbench.problems.bbob import optimal_value

    return spec("bbob", {"f": function, "d": dimension, "i": instance}), optimal_value("bbob", function, instance)


def write_results(
    runs: Sequence[Run],
    out: Path,
    source: str,
    kept: dict[str, Any] | None = None,
    facts: Mapping[str, dict[str, Any]] | None = None,
    budget: Mapping[str, Any] | None = None,
) -> None:
    """A result folder of these runs.

    source: where they come from, in a few words. kept: the environment that they were measured in, where it is there.
    facts: of problems that are ours; those of others are what their runs tell. budget: its unit, where it is no pass.

    Raises RequestError where there are none, and for a folder that holds records already.
    """
    if not runs:
        raise RequestError(f"{source}: no runs")
    records: dict[str, Record] = {}
    numbers: dict[tuple[str, str], int] = {}
    for run in runs:
        cell = run.problem, run.optimizer
        numbers[cell] = numbers.get(cell, -1) + 1
        record = _record(run, numbers[cell] if run.seed is None else run.seed, source)
        while record.key in records:  # the same seed again: another run all the same
            record = _record(run, record.seed + 1_000_000, source)
        records[record.key] = record
    with Store(out) as store:
        if store.records:
            raise RequestError(f"{out} already holds records; write --out another folder")
        environment = kept or _environment(runs, records.values(), source)
        environment["problems"].update(facts or {})
        if budget:
            environment["budget"] = dict(budget)
        environment["plan"] = [trial for trial in environment.get("plan", []) if trial["key"] in records]
        store.write(ENVIRONMENT, json.dumps(environment, indent=1) + "\n")
        for record in records.values():
            store.append(record)


def _record(run: Run, seed: int, source: str) -> Record:
    name, hyper = _named(run.optimizer)
    trial = Trial(run.problem, name, tuple(sorted(hyper.items())), seed, run.budget, run.device, split=run.split)
    return Record(
        key=trial.key,
        problem=run.problem,
        optimizer=name,
        hyper=hyper,
        seed=seed,
        budget=run.budget,
        device=run.device,
        status=run.status,
        error=None if run.status in ("spent", "finished") else f"as {source} has it",
        forward=int(run.curve[-1]["forward"]) if run.curve else 0,
        backward=int(run.curve[-1]["backward"]) if run.curve else 0,
        evaluations=run.evaluations,
        passes=run.passes,
        seconds=run.seconds,
        own_flops=run.own_flops,
        note=f"from {source}",
        split=run.split,
        curve=run.curve,
    )


def _named(label: str) -> tuple[str, dict[str, Any]]:
    """The name and settings in a label; a label that is not written as ours is a name without settings."""
    try:
        (name, hyper), *more = parse(label)
    except RequestError:
        return label, {}
    return (label, {}) if more else (name, hyper)


def _environment(runs: Sequence[Run], records: Iterable[Record], source: str) -> dict[str, Any]:
    problems: dict[str, Any] = {}
    for run in runs:
        if run.problem not in problems:
            problems[run.problem] = _facts(run, [other for other in runs if other.problem == run.problem])
    return {
        "format": 1,
        "suite": source,
        "command": f"optbench import ({source})",
        "machine": {},
        "versions": {},
        "plan": [
            {
                "key": r.key,
                "problem": r.problem,
                "optimizer": r.optimizer,
                "hyper": r.hyper,
                "seed": r.seed,
                "budget": r.budget,
                "device": r.device,
            }
            for r in records
        ],
        "problems": problems,
        "optimizers": {_named(run.optimizer)[0]: {"family": run.family, "summary": run.summary} for run in runs},
    }


def _facts(run: Run, same: Sequence[Run]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "summary": run.problem,
        "track": run.track,
        "loss": "value",
        "dim": run.dimension,
        "train": 1,
        "valid": 0,
        "test": 0,
        "flops_per_pass": 1,
        "passes_per_step": 1.0,  # where the cost is counted in steps, a pass is one
        "passes": max(other.budget for other in same),
        **_goal("loss", same, run.optimum),
    }
    if run.optimum is not None and run.precisions:
        facts["targets"] = {f"{precision:g}": run.optimum + precision for precision in PRECISIONS}
    if any("valid_loss" in other.curve[0] for other in same if other.curve):
        facts["validation"] = _goal("valid_loss", same, None)
    return facts


def _goal(column: str, same: Sequence[Run], optimum: float | None) -> dict[str, Any]:
    """Start, best loss and targets; a best loss that nobody knows is the lowest seen in the study."""
    firsts = [other.curve[0][column] for other in same if other.curve and column in other.curve[0]]
    start = statistics.median(firsts) if firsts and all(map(math.isfinite, firsts)) else None
    if optimum is None:
        return {"start": start, "best": {"value": None, "source": LOWEST_SEEN}, "targets": {}, "taus": list(TAUS)}
    targets = {f"{tau:g}": optimum + tau * (start - optimum) for tau in TAUS} if start is not None else {}
    return {"start": start, "best": {"value": optimum, "source": "optimum"}, "targets": targets}
