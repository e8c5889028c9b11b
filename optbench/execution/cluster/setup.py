"""What a worker's host has to know of a run, and how it checks that it would run the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from optbench.core.trial import RequestError
from optbench.engine.data import splits
from optbench.execution.cluster.parcel import Parcel
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup, Task
from optbench.registry.catalog import Catalog


@dataclass(frozen=True)
class Setup:
    """Pure data that travels to every worker once.

    run: names the run on all machines, the same when it is gone on with. files: the plugin files, as they are called
    where the run was started. sources: (problem, optimizer, fingerprint) of every pair with code of others.
    """

    run: str
    options: RunOptions
    files: tuple[str, ...] = ()
    sources: tuple[tuple[str, str, str], ...] = ()
    parcel: Parcel = field(default_factory=Parcel)
    slots: int = 1  # lane groups at a time


def sources(tasks: Sequence[Task]) -> tuple[tuple[str, str, str], ...]:
    """(problem, optimizer, fingerprint) of every pair of which some source is neither optbench's nor torch's."""
    found = {(one.trial.problem, one.trial.optimizer): one.fingerprint for one in tasks if one.third_party or one.files}
    return tuple((*pair, fingerprint) for pair, fingerprint in found.items())


def name_of(run: str, options: RunOptions, parcel: Parcel) -> str:
    """The name of a run with these options and files: answers of another one are none of its own."""
    what = run, options.timeout, options.memory, options.device, options.eager, parcel.digest
    return hashlib.sha256(repr(what).encode()).hexdigest()[:16]


def group_name(group: LaneGroup) -> str:
    """A name of a lane group that is the same wherever and whenever it is planned."""
    what = [trial.key for trial in group.trials], group.alone, group.note
    return hashlib.sha256(repr(what).encode()).hexdigest()[:20]


def see_that_it_is_the_same(setup: Setup, catalog: Catalog) -> None:
    """Raises RequestError where code of others is another one here, or a problem of theirs has no data here."""
    problems = {}
    for name, optimizer, fingerprint in setup.sources:
        if catalog.fingerprint(name, optimizer) != fingerprint:
            raise RequestError(f"the source of {name} or {optimizer} is another one there")
        problems[name] = catalog.problem(name)
    for name, problem in problems.items():
        with catalog.guarding(type(problem)):
            try:
                splits(problem, "cpu")
            except Exception as error:
                text = " ".join(str(error).split())
                raise RequestError(
                    f"problem {name} has no data there ({type(error).__name__}: {text}); "
                    "put its files into a folder that all machines see under one name"
                ) from None
