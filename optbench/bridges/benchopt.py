"""benchopt (Moreau et al. 2022): a suite as a benchmark folder that `benchopt run` executes, and its results read back.

The folder holds an objective, one dataset with the suite's problems and a solver file an optimizer. They train through
`bridges.benchopt_run`, so what benchopt calls a repetition is a trial with a seed of benchopt's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optbench.bridges.foreign import Run, write_results
from optbench.core.trial import RequestError
from optbench.execution.environment import problem_facts
from optbench.execution.plan import plan
from optbench.execution.suite import Suite
from optbench.registry.catalog import Catalog

OBJECTIVE = '''"""The objective of {name}: the loss that an optimizer reached, as optbench scores it."""

from benchopt import BaseObjective


class Objective(BaseObjective):
    name = "optbench {name}"
    url = "https://pypi.org/project/optbench"
    requirements = ["pip::optbench"]
    min_benchopt_version = "1.7"
    sampling_strategy = "callback"

    def set_data(self, problem, passes):
        self.problem, self.passes = problem, passes

    def get_objective(self):
        self.seed = self.get_seed(use_repetition=True)  # another one every repetition, the same for all solvers
        return dict(problem=self.problem, passes=self.passes, seed=self.seed)

    def evaluate_result(self, scores):
        return dict(value=scores["loss"], seed=self.seed, **scores)

    def get_one_result(self):
        return dict(scores=dict(loss=1.0, passes=0.0))
'''

DATASET = '''"""The problems of {name}, each with its budget in passes over its training set."""

from benchopt import BaseDataset


class Dataset(BaseDataset):
    name = "optbench"
    parameters = {{
        "problem, passes": [
{rows}
        ]
    }}

    def get_data(self):
        return dict(problem=self.problem, passes=self.passes)
'''

SOLVER = '''"""{name}: {summary}."""

from benchopt import BaseSolver
from benchopt.stopping_criterion import NoCriterion

from optbench.bridges.benchopt_run import Training


class Solver(BaseSolver):
    name = "{name}"
    requirements = ["pip::optbench"]
    sampling_strategy = "callback"
    stopping_criterion = NoCriterion(strategy="callback")  # the budget ends a run
    parameters = {{"configuration": {configurations}}}

    def get_next(self, stop_val):
        return stop_val + 1  # every point that optbench scores

    def skip(self, problem, passes, seed):
        reason = Training(self.configuration, problem, passes, seed).unsupported_reason
        return reason is not None, reason

    def set_objective(self, problem, passes, seed):
        self.training = Training(self.configuration, problem, passes, seed)

    def run(self, callback):
        self.training.run(callback)

    def get_result(self):
        return dict(scores=self.training.scores)
'''

CONFIG = """# benchopt run . --config suite.yml
n-repetitions: {seeds}
max-runs: 200
timeout: {timeout:g}
"""


def write(suite: Suite, out: Path) -> int:
    """Write the benchmark folder of a suite; the number of solver files.

    Raises RequestError for a suite that plans nothing that there is, one that tunes, and a folder that exists.
    """
    if suite.tune:
        raise RequestError(f"suite {suite.name} tunes, and benchopt does not: name the configurations to run")
    if out.exists():
        raise RequestError(f"{out} exists; remove it, or write --out another folder")
    catalog = Catalog()
    planned = plan(suite, catalog)
    budgets = {task.trial.problem: task.trial.passes for task in planned.tasks}
    labels: dict[str, list[str]] = {}
    for task in planned.tasks:
        found = labels.setdefault(task.trial.optimizer, [])
        if task.trial.label not in found:
            found.append(task.trial.label)
    (out / "datasets").mkdir(parents=True)
    (out / "solvers").mkdir()
    _write(out / "objective.py", OBJECTIVE.format(name=suite.name))
    rows = "\n".join(f"            ({problem!r}, {passes!r})," for problem, passes in budgets.items())
    _write(out / "datasets" / "optbench.py", DATASET.format(name=suite.name, rows=rows))
    _write(out / "suite.yml", CONFIG.format(seeds=suite.seeds, timeout=suite.timeout))
    for name, configurations in labels.items():
        entry = catalog.optimizers.get(name)
        text = SOLVER.format(name=name, summary=entry.summary if entry else name, configurations=repr(configurations))
        _write(out / "solvers" / f"{re.sub(r'[^A-Za-z0-9_]+', '_', name).strip('_')}.py", text)
    return len(labels)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def read(file: Path, out: Path) -> int:
    """Read a parquet file of benchopt's into a result folder that `report` takes; the number of runs.

    Results of a folder that `write` made are trials as optbench runs them. Of any other benchmark a solver is an
    optimizer, a dataset with its objective a problem, and a pass is a second: benchopt's own axis. Raises RequestError
    for a file that is none of benchopt's.
    """
    table = _table(file)
    runs = [run for _, rows in _groups(table) for run in [_run(rows)] if run]
    catalog = Catalog()
    ours = {run.problem for run in runs if "p_solver_configuration" in table.columns}
    facts = {name: problem_facts(name, catalog.problem(name), catalog, "cpu") for name in sorted(ours)}
    write_results(runs, out, source=f"benchopt's {file.name}", facts=facts)
    return len(runs)


def _table(file: Path) -> Any:
    try:
        import pandas as pd

        table = pd.read_parquet(file)
    except ImportError:
        raise RequestError("reading parquet files needs pyarrow: python -m pip install 'optbench[benchopt]'") from None
    except Exception as error:
        raise RequestError(f"{file} is no parquet file ({type(error).__name__})") from None
    table = table.rename(columns={"data_name": "dataset_name"})
    missing = {"solver_name", "dataset_name", "objective_name", "objective_value", "time"} - set(table.columns)
    if missing:
        raise RequestError(f"{file} is no result of benchopt: it has no column {sorted(missing)[0]}")
    return table


def _groups(table: Any) -> Iterator[tuple[Any, Any]]:
    """The rows of every run."""
    by = ["objective_name", "dataset_name", "solver_name", *(name for name in ("idx_rep",) if name in table.columns)]
    yield from table.groupby(by, sort=False)


def _run(rows: Any) -> Run | None:
    rows = rows.sort_values("time")
    first: Mapping[str, Any] = rows.iloc[0]
    ours = "p_solver_configuration" in rows.columns and "objective_passes" in rows.columns
    points = [_point(row, ours) for row in rows.to_dict("records")]
    if ours:  # the last point is scored again where no work was done since
        points = list({point["passes"]: point for point in points}.values())
    curve = [point for point in points if math.isfinite(point["loss"])]
    last = points[-1]
    if ours:
        problem, optimizer = str(first["p_dataset_problem"]), str(first["p_solver_configuration"])
        budget = float(first["p_dataset_passes"])
    else:
        objective, dataset = str(first["objective_name"]), str(first["dataset_name"])
        problem, optimizer = _plain(f"{dataset} {objective}"), _plain(str(first["solver_name"]))
        budget = max(last["passes"], 1e-9)
    return Run(
        problem=problem,
        optimizer=optimizer,
        seed=int(first["objective_seed"]) if ours else None,
        budget=budget,
        passes=last["passes"],
        seconds=float(last["seconds"]),
        evaluations=int(last["forward"]),
        status="spent" if curve else "diverged",
        curve=curve,
        family="benchopt",
        summary=optimizer if ours else f"{optimizer} in benchopt; a pass is a second",
    )


def _point(row: Mapping[str, Any], ours: bool) -> dict[str, float]:
    if not ours:
        seconds, count = float(row["time"]), float(row.get("stop_val") or 0.0)
        count = count if math.isfinite(count) else 0.0
        loss = float(row["objective_value"])
        return {"passes": seconds, "forward": count, "backward": 0.0, "seconds": seconds, "loss": loss}
    scored = {
        name.removeprefix("objective_"): float(value)
        for name, value in row.items()
        if name.startswith("objective_") and isinstance(value, int | float)
    }
    return {name: value for name, value in scored.items() if name not in ("value", "seed", "name")}


def _plain(text: str) -> str:
    """As a name that a report can use: no brackets, which would be read as settings."""
    return re.sub(r"[\[\],=\s]+", "_", text).strip("_")
