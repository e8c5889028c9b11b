"""What the report has to know that no record says: environment.json, as plain data."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from optbench.core.divided import undivided
from optbench.core.problem import Best, Problem, measured_start
from optbench.core.trial import LOWEST_SEEN, RequestError
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.engine.model import BatchedModel
from optbench.execution import machine, portrait, tuning
from optbench.execution.options import RunOptions
from optbench.execution.plan import Plan, passes_per_step
from optbench.problems.validation import LOWEST
from optbench.records.splits import OF_A_SPLIT
from optbench.registry.catalog import Catalog

VALIDATION_TAUS = (0.3, 0.2, 0.1, 0.05)  # what is left of the way from the start to the lowest validation loss
WORKER_THREADS = 1  # of a worker process, and of everything that is measured for its sake


def environment(
    plan: Plan,
    catalog: Catalog,
    workers: int,
    options: RunOptions,
    own_device: str | None = None,
    facts_of: Callable[[str, Problem, str, int], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The run, its machine, its plan, its problems and its optimizers. Raises RequestError for a broken problem.

    own_device: where this machine looks at the problems, for a run on the device of another machine. facts_of: says
    what `problem_facts` does, elsewhere perhaps; given a name, its problem, a device and the split of its data.
    """
    suite, device = plan.suite, own_device or options.device
    problems = {(task.trial.problem, task.trial.split): task.problem for task in plan.tasks}
    with machine.threads(WORKER_THREADS):
        ceiling = machine.ceiling(device)
        facts: dict[str, dict[str, Any]] = {}
        for (name, split), problem in problems.items():
            if facts_of is None:
                found = problem_facts(name, problem, catalog, device)
            else:
                found = facts_of(name, problem, device, split)
            if split:
                own = {key: found[key] for key in OF_A_SPLIT if key in found}
                facts[name].setdefault("splits", {})[str(split)] = own
            else:
                facts[name] = found
    tuned = {"tuning": tuning.facts(suite.tune, plan.competitors)} if suite.tune else {}
    return {
        "format": 1,
        "optbench": machine.VERSION,
        "suite": suite.name,
        **({"budget": suite.budget} if suite.budget else {}),
        **({"analysis": dict(suite.analysis)} if suite.analysis else {}),
        "groups": {name: list(members) for name, members in suite.groups.items()},
        "command": options.command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "threads": WORKER_THREADS,
        "workers": workers,
        **({"timing": "pinned"} if options.pinned else {}),
        "eager": options.eager,
        "ceiling_flops_per_second": {device: ceiling},
        "plan": [
            {**trial.as_data(), "hyper": dict(trial.hyper), "budget": trial.passes, "key": trial.key}
            for trial in plan.trials
        ],
        **tuned,
        "problems": facts,
        "optimizers": {
            name: {"family": catalog.family(name), "summary": getattr(catalog.optimizers.get(name), "summary", name)}
            for name in dict.fromkeys(trial.optimizer for trial in plan.trials)
        },
    }


def problem_facts(name: str, problem: Problem, catalog: Catalog, device: str) -> dict[str, Any]:
    """A problem as data. It is loaded and scored once; raises RequestError where that fails.

    name: its spec, as the plan has it. device: "cpu" or "cuda".
    """
    try:
        data = splits(problem, device)
        model = BatchedModel(problem, (0,), device)
        model.score(model.matrix, data)
        samples = len(data.train[0])
        cost = flops(problem, samples, device)[0]
        goal = _goal(problem.start, problem.best, problem.taus, problem.targets)
        validation = validation_goal(name, problem) if data.valid else {}
    except Exception as error:
        raise RequestError(f"problem {name}: {type(error).__name__}: {' '.join(str(error).split())}") from None
    entry = catalog.problems.get(name.partition("[")[0])
    return {
        "summary": entry.summary if entry else (problem.__doc__ or name).strip().split("\n")[0],
        "track": problem.track,
        "loss": problem.loss_name,
        "dim": model.dim,
        "train": samples,
        "valid": len(data.valid[0]) if data.valid else 0,
        "test": len(data.test[0]) if data.test else 0,
        "flops_per_pass": cost,
        "batch": problem.batch,
        "passes": problem.passes,
        "passes_per_step": passes_per_step(problem, device),
        "dtype": str(problem.dtype).removeprefix("torch."),
        **goal,
        **({"validation": validation} if validation else {}),
        **_portrait(problem, data.train),
    }


def _portrait(problem: Problem, train: Sequence[Tensor]) -> dict[str, Any]:
    """What a report shows of the network and the data; nothing where a problem does not let itself be looked at."""
    if problem.track == "function":
        return {}
    try:
        found = {"network": portrait.network(problem, train), "data": portrait.data(train)}
    except Exception:  # somebody's network or data of another kind: the run does not need it
        return {}
    return {name: value for name, value in found.items() if value}


def validation_goal(name: str, problem: Problem) -> dict[str, Any]:
    """Where the validation loss begins, the lowest known, and targets between them; fixed, whoever takes part.

    Of a problem that is not in `problems/validation.py` the lowest training loss known stands in for the lowest
    validation loss: a model can hardly do better on data that it has not seen.
    """
    if name in LOWEST and undivided(problem) is not problem:  # what was reached on other validation data says nothing
        start, best = measured_start(problem, "valid"), Best(math.nan, LOWEST_SEEN)
    elif name in LOWEST:
        start, best = LOWEST[name][0], Best(LOWEST[name][1], "lowest reached")
    else:
        start, best = measured_start(problem, "valid"), problem.best
    return _goal(
        start, best, VALIDATION_TAUS, {tau: best.value + tau * (start - best.value) for tau in VALIDATION_TAUS}
    )


def _goal(start: float, best: Best, taus: Sequence[float], targets: Mapping[float, float]) -> dict[str, Any]:
    """Start, best loss and targets as the report reads them; where nobody knows the best loss, it makes the targets."""
    if math.isnan(best.value):
        shares = [float(f"{tau:g}") for tau in taus]
        return {"start": start, "best": {"value": None, "source": best.source}, "targets": {}, "taus": shares}
    stated = {f"{tau:g}": value for tau, value in targets.items()}
    return {"start": start, "best": {"value": best.value, "source": best.source}, "targets": stated}
