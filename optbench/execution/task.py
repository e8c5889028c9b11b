"""What the plan hands on: tasks, whose names are resolved, and lane groups, which are pure data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from optbench.core.problem import FULL, Problem
from optbench.core.trial import Trial
from optbench.records.schema import Record
from optbench.registry.catalog import Built, Catalog, Kind


@dataclass(frozen=True)
class Task:
    """One trial with everything that its names stand for. It stays in the process that resolved it."""

    trial: Trial
    problem: Problem
    built: Built
    fingerprint: str  # of the source of its problem and optimizer
    third_party: tuple[str, ...] = ()  # its classes that are neither optbench's nor torch's
    files: tuple[str, ...] = ()  # plugin files that its names stand in
    scorer: Kind | None = None  # of a third-party optimizer: the process that scores its points again
    competitor: str = ""  # what a report compares: its label, or the optimizer whose settings are being tuned

    @property
    def unsupported_reason(self) -> str | None:
        """Why this optimizer cannot train this problem, as far as the declarations tell; None where it can."""
        return unsupported_reason(self.built, self.problem)

    def record(self, status: str = "failed", error: str | None = None) -> Record:
        """A record that holds nothing but what was planned, with this status and reason."""
        trial = self.trial
        return Record(
            key=trial.key,
            problem=trial.problem,
            optimizer=trial.optimizer,
            hyper=dict(trial.hyper),
            seed=trial.seed,
            budget=trial.passes,
            device=trial.device,
            status=status,
            error=error,
            fingerprint=self.fingerprint,
            split=trial.split,
        )


def unsupported_reason(built: Built, problem: Problem) -> str | None:
    """Why this optimizer cannot train this problem, as far as the declarations tell; None where it can."""
    if built.needs in problem.gives:
        if built.precision != FULL and (built.needs == "exact" or problem.dtype != torch.float32):
            return f"precision={built.precision} is for values and gradients of networks in float32"
        return None
    hint = f"; {problem.instead_of_gradients}" if built.needs == "grad" and problem.instead_of_gradients else ""
    return f"needs {built.needs!r}, the problem gives {', '.join(sorted(problem.gives))}{hint}"


def resolve(trials: Iterable[Trial], catalog: Catalog) -> list[Task]:
    """The tasks of trials that came as pure data, in their order; seeds share what a name stands for.

    For whoever runs a lane group: the plan resolves its own. Raises RequestError for a wrong name.
    """
    first: dict[Any, Task] = {}  # of every configuration
    tasks = []
    for trial in trials:
        configuration = trial.problem, trial.split, trial.optimizer, trial.hyper
        if configuration not in first:
            names = trial.problem, trial.optimizer
            built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
            sources = catalog.sources(*names)
            first[configuration] = Task(
                trial, catalog.problem(trial.problem, trial.split), built, *sources, trial.label
            )
        tasks.append(replace(first[configuration], trial=trial))
    return tasks


class Stated(NamedTuple):
    """What a process has to know of an optimizer that it never imports."""

    needs: str
    lanes: bool
    batch: int | str | None
    precision: str = FULL
    fingerprint: str = ""  # of the source of problem and optimizer


@dataclass(frozen=True)
class LaneGroup:
    """Trials that are trained as lanes of one program: pure data, which any executor can carry anywhere."""

    trials: tuple[Trial, ...]
    third_party: tuple[str, ...] = ()  # such a group shares its worker process with no group of other classes
    files: tuple[str, ...] = ()  # the plugin files to import for it; no other is imported in its process
    scorer: Kind | None = None  # the process that scores its points again; None: its optimizer is optbench's or torch's
    stated: Stated | None = None  # its optimizer runs isolated, in a process of its own
    alone: bool = False  # nothing else may run on the machine meanwhile: its clock counts
    note: str | None = None  # goes into the records: how they were run, where that is not as planned

    @property
    def is_checked(self) -> bool:
        """Whether its points are scored again; isolated ones were scored by a process that never had the optimizer."""
        return self.scorer is not None and self.stated is None


def group_of(tasks: Sequence[Task], isolate: bool, alone: bool = False) -> LaneGroup:
    """Tasks that are one program; isolate: an optimizer of others runs in a process of its own, where that can be."""
    first = tasks[0]
    stated = None
    if isolate and first.scorer:
        built = first.built
        stated = Stated(built.needs, built.lanes, built.batch, built.precision, first.fingerprint)
    trials = tuple(task.trial for task in tasks)
    return LaneGroup(trials, first.third_party, first.files, first.scorer, stated, alone)


@dataclass(frozen=True)
class Outcome:
    """How a lane group ended: a record a trial, in its order, and the seconds that it took a worker."""

    group: LaneGroup
    records: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    out_of_memory: bool = False  # the host's limit or the device's memory; the records then say so
    machine: str = ""  # that ran it, where it was not this one
