"""Trials whose points are kept as they train: the same meter, the same costs, and recording is off the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.objective import Objective
from optbench.core.problem import Problem, fresh
from optbench.core.trial import RequestError, Trial
from optbench.engine.metered import metered_as
from optbench.execution.lane_group import batch_size, train
from optbench.execution.task import unsupported_reason
from optbench.registry.catalog import Built, Catalog
from optbench.registry.specs import parse
from optbench.watch.landscape import Landscape

FRAMES = 150  # pictures of a run; their costs grow with the square, so that the fast beginning is seen
MAX_CLOUD = 64  # candidates of a population that are kept
MAX_NUMBERS = 60_000_000  # that the points of one run may hold: 240 MB in single precision


@dataclass
class Path:
    """One run. costs: (F,) passes at which it was seen. points: (F, D) what it would return then. clouds: (P, D) of the
    population that it last evaluated, or None for a method without one. status: how it ended, as records have it.
    """

    label: str
    family: str
    costs: list[float]
    points: list[Tensor]
    clouds: list[Tensor | None]
    problem: Problem
    status: str

    def losses(self, split: str = "train") -> list[float]:
        """(F,) the loss at every point, on a whole split: "train", "valid" or "test"."""
        return [float(loss) for loss in Landscape(self.problem).losses(torch.stack(self.points), split)]

    def network(self, k: int = -1) -> nn.Module:
        """The network as it was at the k-th point, in eval mode."""
        module = fresh(self.problem, 0)[0].eval()
        nn.utils.vector_to_parameters(self.points[k], module.parameters())
        return module


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


def record(
    problem: str | Problem,
    optimizers: Sequence[str],
    passes: float | None,
    seed: int,
    catalog: Catalog,
) -> list[Path]:
    """Train each optimizer once from the same seed, and return what was seen of it.

    passes: the budget; None is the problem's own. A run that diverges is kept up to there. Raises RequestError for a
    wrong name, or an optimizer that does not fit the problem or fails.
    """
    task = catalog.problem(problem) if isinstance(problem, str) else problem
    name = problem if isinstance(problem, str) else getattr(problem, "title", type(problem).__name__)
    budget = task.passes if passes is None else passes
    trials = [
        Trial(name, optimizer, tuple(sorted(hyper.items())), seed, budget)
        for text in optimizers
        for optimizer, hyper in parse(text)
    ]
    built = [catalog.optimizer(trial.optimizer, dict(trial.hyper)) for trial in trials]
    for trial, one in zip(trials, built, strict=True):
        if reason := unsupported_reason(one, task):
            raise RequestError(f"{trial.optimizer} cannot train {name}: {reason}")
    return [
        _recorded(trial, task, one, catalog.family(trial.optimizer)) for trial, one in zip(trials, built, strict=True)
    ]


def _recorded(trial: Trial, problem: Problem, built: Built, family: str) -> Path:
    f = metered_as(Recorded, problem, [trial.seed], trial.passes, batch=batch_size(built, problem), needs=built.needs)
    frames = max(2, min(FRAMES, MAX_NUMBERS // f.dim))  # fewer pictures of a large network
    cloud = max(1, min(MAX_CLOUD, MAX_NUMBERS // (frames * f.dim)))
    f.record_at([trial.passes * (k / frames) ** 2 for k in range(frames)], cloud)
    f.start_clock()
    status, reason = train(built.optimizer, f, trial.seed)
    if status not in ("spent", "finished"):
        raise RequestError(f"{trial.label} on {trial.problem} {status}: {reason}; leave it out")
    outcome = f.finish()
    seen = [*f.kept, (outcome.spent.passes, outcome.points[0], f.kept[-1][2] if f.kept else None)]
    if outcome.diverged[0]:
        status, seen = "diverged", [one for one in seen if bool(one[1].isfinite().all())]
    costs, points, clouds = (list(part) for part in zip(*seen, strict=True))
    return Path(trial.label, family, costs, points, clouds, problem, status)
