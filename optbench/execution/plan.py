"""From a suite to its tasks: every name is resolved here, once, and every bad request refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from optbench.core.goal import read_goal
from optbench.core.problem import Problem
from optbench.core.trial import UNLIMITED_PASSES, RequestError, Trial, spec
from optbench.engine.flops import costs
from optbench.execution import tuning
from optbench.execution.suite import Suite, check_numbers
from optbench.execution.task import Task
from optbench.execution.tuning import Competitor
from optbench.registry.catalog import Catalog
from optbench.registry.expressions import is_combination
from optbench.registry.specs import parse

MAX_TRIALS = 1_000_000  # of one plan: 2 GB of records, 500 MB of memory
PerStep = Callable[[Problem, str], float]  # a problem and a device -> what a step costs, in passes


def passes_per_step(problem: Problem, device: str) -> float:
    """Passes that a gradient step on the problem's own minibatch costs."""
    found = costs(problem, problem.batch, device)
    return found.gradient / found.one_pass


@dataclass(frozen=True)
class Plan:
    """Every trial of a suite, each once, cell by cell, with what its names stand for."""

    suite: Suite
    tasks: tuple[Task, ...]
    competitors: tuple[Competitor, ...]  # its optimizers, each with the configurations that are tried
    undivided: tuple[str, ...] = ()  # problems with one split only, where the suite asks for several

    @property
    def trials(self) -> list[Trial]:
        return [task.trial for task in self.tasks]


def plan(suite: Suite, catalog: Catalog, device: str = "cpu", per_step: PerStep = passes_per_step) -> Plan:
    """The plan of a suite on a device ("cpu" or "cuda"). Raises RequestError for a name, setting or number.

    per_step: the passes that a step costs, where the problem itself may be in another process.
    """
    check_numbers(suite)
    competitors = tuning.competitors(suite.optimizers, suite.tune, catalog)
    _check_size(suite, sum(len(one.hypers) for one in competitors))
    compared = {spec(one.name, hyper): one.label for one in competitors for hyper in one.hypers}
    entered = [(one.name, hyper, built) for one in competitors for hyper, built in one.configurations]
    until = str(read_goal(suite.until)) if suite.until else ""
    tasks: dict[Trial, Task] = {}
    whole: list[str] = []
    for text in suite.problems:
        for name, settings in parse(text):
            wanted = spec(name, settings)
            problems = {0: catalog.problem(wanted)}
            if suite.splits > 1:
                if catalog.divides(wanted):
                    problems = {k: catalog.problem(wanted, k) for k in range(min(suite.splits, suite.seeds))}
                else:
                    whole.append(wanted)
            passes = {k: _passes(suite, text, one, partial(per_step, one, device)) for k, one in problems.items()}
            sources = {one.name: catalog.sources(wanted, one.name) for one in competitors}
            for optimizer, hyper, built in entered:
                label = spec(optimizer, hyper)
                for seed in range(suite.seeds):
                    chosen, split = tuple(sorted(hyper.items())), seed % suite.splits if len(problems) > 1 else 0
                    trial = Trial(wanted, optimizer, chosen, seed, passes[split], device, suite.seconds, until, split)
                    tasks[trial] = Task(trial, problems[split], built, *sources[optimizer], compared[label])
    _check_groups(tasks.values(), catalog)
    return Plan(suite, tuple(tasks.values()), tuple(competitors), tuple(whole))


def _check_groups(tasks: Iterable[Task], catalog: Catalog) -> None:
    """Raises RequestError for a written combination whose parts can share out the network of no problem.

    One that fits some of the problems is inapplicable to the others.
    """
    first = {(task.trial.optimizer, task.trial.problem): task for task in reversed(list(tasks))}
    written = {name for name, _ in first if is_combination(name)}
    for name in sorted(written):
        reasons = [
            catalog.ungrouped_reason(task.trial.problem, optimizer, dict(task.trial.hyper))
            for (optimizer, _), task in first.items()
            if optimizer == name and task.unsupported_reason is None
        ]
        if reasons and None not in reasons:
            raise RequestError(f"{name}: {reasons[0]}")


def _passes(suite: Suite, text: str, problem: Problem, per_step: Callable[[], float]) -> float:
    """The budget of every trial on a problem. Steps are gradient steps on its own minibatch, whoever trains it."""
    if suite.seconds is not None:
        return UNLIMITED_PASSES
    if suite.steps is not None:
        try:
            step = per_step()
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(f"problem {text}: {type(error).__name__}: {' '.join(str(error).split())}") from None
        return suite.steps * step * (1 + 1e-12)  # so that rounding loses no step
    return float(suite.budgets.get(text, suite.passes or problem.passes))


def _check_size(suite: Suite, configurations: int) -> None:
    """Raises RequestError, before anything is built, for more trials than any folder holds."""
    problems = sum(len(parse(text)) for text in suite.problems)
    trials = problems * configurations * suite.seeds
    if trials > MAX_TRIALS:
        raise RequestError(
            f"{problems} problems x {configurations} configurations x {suite.seeds} seeds are {trials} trials, "
            f"at most {MAX_TRIALS} are run into one folder"
        )
