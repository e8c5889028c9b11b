"""Every way that trials are put into lane groups, and that a lane group is split.

By what may be one program and by the width that pays (`lane_groups`), by predicted memory (`by_memory`), in halves
after memory ran out and one by one after any other failure (`smaller_groups`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace

from optbench.core.divided import undivided
from optbench.core.problem import dimension
from optbench.core.trial import Trial, same_work
from optbench.execution.memory import footprint
from optbench.execution.task import LaneGroup, Outcome, Task, group_of
from optbench.execution.width import worthwhile
from optbench.registry.catalog import Catalog

MAX_MEMORY_SHARE = 0.6  # of a worker's memory that a group may be planned to take: the process itself needs some
MAX_ROUGH_BYTES = 2**28  # below this a rough bound of a group's memory is enough
MIN_SHARED_LANES = 16  # that a group keeps when it is made narrower for the other workers: nine tenths of the best rate
_RETRIED = ("failed", "timeout", "killed")  # statuses that a whole group may share because of one of its lanes


def timed_tasks(tasks: Sequence[Task], runs: int = 1) -> list[Task]:
    """The tasks that are run alone for their clock: the first seeds of every problem and competitor, one setting each.

    Settings that differ in the learning rate alone do the same work, so one of them is timed. runs: how many of them.
    """
    firsts: dict[Hashable, list[Task]] = {}
    for task in tasks:
        found = firsts.setdefault((task.trial.problem, same_work(task.competitor)), [])
        if len(found) < runs and (not found or found[0].trial.hyper == task.trial.hyper):
            found.append(task)
    return [task for found in firsts.values() for task in found]


Widths = Callable[[Sequence[tuple[Task, int]]], list[int]]  # lanes that pay, for (task, trials that share its trace)


def lane_groups(
    tasks: Sequence[Task],
    width: int | None,
    eager: bool = False,
    widths: Widths | None = None,
    isolate: bool = False,
    workers: int = 1,
) -> Iterator[LaneGroup]:
    """Lane groups of at most `width` trials: equal but for the seed and for settings that may differ by lane.

    width: None takes as many lanes as pay, and one where they do not pay; `widths` says how many, or this machine.
    eager: steps will not be compiled. isolate: see `group_of`. workers: that will share the groups; where no width is
    named, none of them is left without a group while another has two. Every task must be one that its problem supports.
    """
    alike: dict[Hashable, list[Task]] = {}
    for task in tasks:
        alike.setdefault(_common(task), []).append(task)
    asked: dict[int, int] = {}  # number of the group of alike tasks: lanes that pay
    sharing = Counter(_traced(task) for same in alike.values() if _may_share(same) for task in same)
    if widths and not width:
        asks = {
            number: (same[0], max(len(same), sharing[_traced(same[0])] // workers))
            for number, same in enumerate(alike.values())
            if _may_share(same)
        }
        asked = dict(zip(asks, widths(list(asks.values())), strict=True))
    for number, same in enumerate(alike.values()):
        first = same[0]
        most = 1
        if _may_share(same):
            trial = first.trial
            most = (
                width
                or asked.get(number)
                or worthwhile(undivided(first.problem), first.built, trial.passes, trial.device, len(same), eager)
            )
        step = most if width else _shared(len(same), most, workers)
        for k in range(0, len(same), step):
            yield group_of(same[k : k + step], isolate)


def _may_share(same: Sequence[Task]) -> bool:
    return same[0].trial.seconds is None and same[0].built.lanes and len(same) > 1 and same[0].problem.vmaps


def _traced(task: Task) -> Hashable:
    """What tasks have in common whose gradients a worker traces once: optimizers may differ."""
    trial, built = task.trial, task.built
    return trial.problem, trial.split, trial.passes, built.needs, built.batch, built.precision


def _common(task: Task) -> Hashable:
    """What the trials of one lane group have in common."""
    if hasattr(task.built.optimizer, "together"):
        return replace(task.trial, seed=0, hyper=()), task.built.batch, task.built.precision
    return replace(task.trial, seed=0), task.built.batch


def by_memory(trials: Sequence[Trial], catalog: Catalog, limit: float) -> list[Sequence[Trial]]:
    """The trials of a group as one part, or as several that each stay within their share of `limit` bytes.

    A group that might be large is measured on a few steps of two lanes, so this belongs where the group runs.
    """
    if len(trials) == 1 or _rough_bytes(trials, catalog) < min(MAX_ROUGH_BYTES, MAX_MEMORY_SHARE * limit):
        return [trials]
    widest = footprint(trials, catalog).width(MAX_MEMORY_SHARE * limit)
    return list(_slices(trials, _even(len(trials), widest)))


def _rough_bytes(trials: Sequence[Trial], catalog: Catalog) -> float:
    """More bytes than the group can take, for usual methods: ten vectors a candidate, 64 candidates or L-BFGS pairs."""
    problem = catalog.problem(trials[0].problem, trials[0].split)
    return len(trials) * dimension(problem) * problem.dtype.itemsize * 640.0


def smaller_groups(outcome: Outcome) -> list[LaneGroup]:
    """The groups in which the trials of a group that failed as a whole are run again; none where its end is final."""
    group, lanes = outcome.group, len(outcome.group.trials)
    if lanes == 1:
        return []
    if outcome.out_of_memory:
        note = group.note or f"out of memory with {lanes} lanes"
        return [replace(group, trials=tuple(part), note=note) for part in _slices(group.trials, (lanes + 1) // 2)]
    if any(record.status in _RETRIED for record in outcome.records):
        return [replace(group, trials=(trial,)) for trial in group.trials]
    return []


def _even(count: int, most: int) -> int:
    """The size of parts of at most `most`, as few and as equal as they can be."""
    return -(-count // -(-count // most))


def _shared(count: int, most: int, workers: int) -> int:
    """The same, as many parts as every one of so many workers gets equally often, unless parts become too narrow."""
    parts = -(-count // most)
    shared = -(-parts // workers) * workers
    return _even(count, most) if count < shared * MIN_SHARED_LANES else -(-count // shared)


def _slices(trials: Sequence[Trial], size: int) -> Iterator[Sequence[Trial]]:
    return (trials[k : k + size] for k in range(0, len(trials), size))
