"""Trials whose points are kept as they train: the same meter, the same costs, and recording is off the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from optbench.core.objective import Objective
from optbench.core.trial import RequestError, Trial, spec
from optbench.engine.metered import metered
from optbench.execution.lane_group import batch_size, train
from optbench.execution.task import Task, resolve
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

FRAMES = 150  # pictures of a run; their costs grow with the square, so that the fast beginning is seen
MAX_CLOUD = 64  # candidates of a population that are kept
MAX_NUMBERS = 60_000_000  # that the points of one run may hold: 240 MB in single precision


@dataclass
class Path:
    """One run. costs: (F,) passes at which it was seen. points: (F, D) what it would return then. clouds: (P, D) of the
    population that it last evaluated, or None for a method without one.
    """

    label: str
    family: str
    costs: list[float]
    points: list[Tensor]
    clouds: list[Tensor | None]


class Recorded(Objective):
    """An objective of one lane that keeps its points at given costs. The optimizer sees no difference."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.kept: list[tuple[float, Tensor, Tensor | None]] = []
        self._cloud: Tensor | None = None
        self._due: list[float] = []
        super().__init__(*args, **settings)

    def record_at(self, costs: Sequence[float], cloud: int) -> None:
        """costs: passes at which the next call is kept, rising. cloud: candidates of a population to keep."""
        self._due, self._most = list(costs), cloud

    def value(self, x: Tensor) -> Tensor:
        if x.ndim == 3 and x.shape[1] > 1:
            self._cloud = x[0, :: max(1, -(-x.shape[1] // self._most))].detach()
        return super().value(x)

    def _enter(self) -> None:
        super()._enter()
        self._keep_if_due()

    def _keep_if_due(self) -> None:
        passes = self._meter.spent.passes
        if not self._due or passes < self._due[0]:
            return
        with self._meter.paused():
            self._due = [cost for cost in self._due if cost > passes]
            self.keep()

    def keep(self) -> None:
        """Keep the points as they are now."""
        cloud = None if self._cloud is None else self._cloud.clone()
        self.kept.append((self._meter.spent.passes, self._returned()[0].detach().clone(), cloud))


def record(problem: str, optimizers: Sequence[str], passes: float | None, seed: int, catalog: Catalog) -> list[Path]:
    """Train each optimizer once from the same seed, and return what was seen of it.

    passes: the budget; None is the problem's own. Raises RequestError for a wrong name, or an optimizer that does not
    fit the problem or gets nowhere.
    """
    built = catalog.problem(problem)
    budget = built.passes if passes is None else passes
    trials = [
        Trial(problem, name, tuple(sorted(hyper.items())), seed, budget)
        for text in optimizers
        for name, hyper in parse(text)
    ]
    tasks = resolve(trials, catalog)
    for task in tasks:
        if task.unsupported_reason:
            raise RequestError(f"{task.trial.optimizer} cannot train {problem}: {task.unsupported_reason}")
    return [_recorded(task, catalog.family(task.trial.optimizer)) for task in tasks]


def _recorded(task: Task, family: str) -> Path:
    trial, problem = task.trial, task.problem
    batch, needs = batch_size(task.built, problem), task.built.needs
    f = metered(problem, [trial.seed], trial.passes, batch=batch, needs=needs, kind=Recorded)
    cloud = max(1, min(MAX_CLOUD, MAX_NUMBERS // (FRAMES * f.dim)))
    f.record_at([trial.passes * (k / FRAMES) ** 2 for k in range(FRAMES)], cloud)
    f.start_clock()
    status, reason = train(task.built.optimizer, f, trial.seed)
    label = spec(trial.optimizer, dict(trial.hyper))
    if status not in ("spent", "finished"):
        raise RequestError(f"{label} on {trial.problem} {status}: {reason}; leave it out")
    outcome = f.finish()
    seen = [*f.kept, (outcome.spent.passes, outcome.points[0], f.kept[-1][2] if f.kept else None)]
    costs, points, clouds = (list(part) for part in zip(*seen, strict=True))
    return Path(label, family, costs, points, clouds)
