"""A whole run: a suite into a folder of records, resumed where it was left, and its report."""

from __future__ import annotations

import datetime
import itertools
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from optbench.core.problem import dimension
from optbench.core.trial import FAILED, RequestError, Trial, spec
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.execution import machine, tuning
from optbench.execution.grouping import groups, timed
from optbench.execution.plan import Suite, plan
from optbench.execution.pool import Limits, sweep
from optbench.execution.progress import Progress
from optbench.records import store
from optbench.records.schema import RECORDS, Record
from optbench.registry.catalog import Catalog

VERSION = "0.1.0"


@dataclass(frozen=True)
class Options:
    """How a suite is run, as against what it asks for."""

    workers: int = 0  # processes; 0: one a core
    lanes: int | None = None  # trials that may share one program; None: as many as pay
    device: str = "cpu"
    plugins: tuple[str, ...] = ()
    command: str = "python -m optbench run"


def run_suite(suite: Suite, out: Path, options: Options, say: Any = print) -> list[Record]:
    """Run what has no record yet and return the records of all planned trials, in the order of the plan.

    Raises RequestError before anything runs for whatever is wrong with the request.
    """
    if options.workers < 0:
        raise RequestError(f"--workers {options.workers} must be at least 1")
    if options.lanes is not None and options.lanes < 1:
        raise RequestError(f"--lanes {options.lanes} must be at least 1, or auto")
    catalog = Catalog(options.plugins)
    trials = plan(suite, catalog, machine.device(options.device))
    cores = machine.describe()["cores"] or 1
    workers = options.workers or (1 if trials[0].device == "cuda" else cores)
    facts = _facts(suite, trials, catalog, workers, options)
    with store.Store(out) as results:
        if results.rejected:
            say(f"{results.rejected} lines of {out / RECORDS} were no records: kept in {out / store.REJECTED}")
        _retire(results, trials, catalog, say)
        todo = [trial for trial in trials if trial.key not in results.records]
        _say_what_runs_alone(trials, catalog, options.lanes, say)
        results.write(store.SUITE, suite.toml())
        results.write(store.ENVIRONMENT, json.dumps(facts, indent=1) + "\n")
        if done := len(trials) - len(todo):
            say(f"{done} of {len(trials)} trials have their record in {out}; {len(todo)} to run")
        if todo:
            _fill(results, trials, todo, catalog, workers, options.lanes, suite, say)
        return [results.records[trial.key] for trial in trials]


def _fill(
    results: store.Store,
    trials: Sequence[Trial],
    todo: Sequence[Trial],
    catalog: Catalog,
    workers: int,
    lanes: int | None,
    suite: Suite,
    say: Any,
) -> None:
    """Run what is to do: most of it in lane groups on all workers, then one trial a cell alone, for its clock."""
    limits = Limits(suite.timeout, suite.memory)
    spool = results.folder / ".spool"
    clocked = set(timed(trials, _competitor(suite, catalog)) if suite.timing else ()) & set(todo)
    # Every cell's first seed first: soon there is a whole comparison, and the time that is left can be told.
    shared = [trial for trial in todo if trial not in clocked]
    work = sorted(groups(shared, catalog, lanes), key=lambda group: group[0].seed)
    alone = [[trial] for trial in todo if trial in clocked]
    with Progress(todo, workers) as progress:
        phases = (
            sweep(work, catalog, spool, max(1, min(workers, len(work))), limits),
            sweep(alone, catalog, spool, 1, limits, alone=True),
        )
        for records, took in itertools.chain(*phases):
            for record in records:
                results.append(record)
                progress.add(record, took / len(records))
    say(progress.summary())
    failed = [record for record in results.records.values() if record.status in FAILED]
    reasons = {f"{record.problem} x {record.label}: {record.status}, {record.error}" for record in failed}
    for reason in sorted(reasons)[:10]:
        say(f"  {reason}")
    if len(reasons) > 10:
        say(f"  and {len(reasons) - 10} more, all in the report")


def _competitor(suite: Suite, catalog: Catalog) -> Callable[[Trial], str]:
    """What a trial's time is asked of: its setting, or the optimizer where its settings are being tuned."""
    tuned = {
        spec(one.name, hyper): one.label
        for one in tuning.competitors(suite.optimizers, suite.tune, catalog)
        for hyper in one.hypers
    }
    return lambda trial: tuned.get(trial.label, trial.label)


def _say_what_runs_alone(trials: Sequence[Trial], catalog: Catalog, lanes: int | None, say: Any) -> None:
    names = [name for name in dict.fromkeys(trial.problem for trial in trials) if not catalog.problem(name).vmaps]
    if names and lanes != 1:
        say(f"{', '.join(names)}: torch.vmap cannot batch this network, so its trials run one by one")


def _retire(results: store.Store, trials: Sequence[Trial], catalog: Catalog, say: Any) -> None:
    """Drop the records of planned trials whose problem or optimizer has another source now."""
    old = [
        trial.key
        for trial in trials
        if (record := results.records.get(trial.key))
        and record.fingerprint != catalog.fingerprint(trial.problem, trial.optimizer)
    ]
    if old:
        say(f"{len(old)} trials run again: the source of their problem or optimizer has changed")
        results.forget(old)


def _facts(suite: Suite, trials: Sequence[Trial], catalog: Catalog, workers: int, options: Options) -> dict[str, Any]:
    """What the report has to know that no record says: environment.json."""
    device = trials[0].device
    torch.set_num_threads(1)
    return {
        "format": 1,
        "optbench": VERSION,
        "suite": suite.name,
        "command": options.command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": 1,
        "workers": workers,
        "ceiling_flops_per_second": {device: machine.ceiling(device)},
        "plan": [
            {**asdict(trial), "hyper": dict(trial.hyper), "budget": trial.passes, "key": trial.key} for trial in trials
        ],
        **(
            {"tuning": tuning.facts(suite.tune, tuning.competitors(suite.optimizers, suite.tune, catalog))}
            if suite.tune
            else {}
        ),
        "problems": {name: problem_facts(name, catalog, device) for name in dict.fromkeys(t.problem for t in trials)},
        "optimizers": {
            name: {"family": catalog.family(name), "summary": getattr(catalog.optimizers.get(name), "summary", name)}
            for name in dict.fromkeys(t.optimizer for t in trials)
        },
    }


def problem_facts(name: str, catalog: Catalog, device: str) -> dict[str, Any]:
    """A problem as data. Raises RequestError where it does not load."""
    problem = catalog.problem(name)
    try:
        data = splits(problem, device)
        dim = dimension(problem)
        samples = len(data.train[0])
        cost = flops(problem, samples, device)[0]
        best, targets, start = problem.best, problem.targets, problem.start
    except Exception as error:
        raise RequestError(f"problem {name}: {type(error).__name__}: {error}") from None
    entry = catalog.problems.get(name.partition("[")[0])
    return {
        "summary": entry.summary if entry else (problem.__doc__ or name).strip().split("\n")[0],
        "track": problem.track,
        "loss": problem.loss_name,
        "dim": dim,
        "train": samples,
        "valid": len(data.valid[0]) if data.valid else 0,
        "test": len(data.test[0]) if data.test else 0,
        "flops_per_pass": cost,
        "batch": problem.batch,
        "passes": problem.passes,
        "dtype": str(problem.dtype).removeprefix("torch."),
        "start": start,
        "best": {"value": best.value, "source": best.source},
        "targets": {f"{tau:g}": value for tau, value in targets.items()},
    }


def command_line(arguments: Sequence[str]) -> str:
    """The command as a user would type it again."""
    return shlex.join(["python", "-m", "optbench", *arguments])
