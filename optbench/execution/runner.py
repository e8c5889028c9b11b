"""The coordinator of a run: a suite into a folder of records, resumed where it was left. It alone writes records."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from optbench.core.trial import FAILED, RequestError
from optbench.execution import machine
from optbench.execution.environment import WORKER_THREADS, environment
from optbench.execution.executor import Executor, execute
from optbench.execution.grouping import lane_groups, timed_tasks
from optbench.execution.in_process import MAX_TRIALS, InProcessExecutor, fits
from optbench.execution.interference import interference
from optbench.execution.lane_group import UNCAPTURED
from optbench.execution.learned import LearnedCatalog
from optbench.execution.options import RunOptions
from optbench.execution.plan import Plan, plan
from optbench.execution.pool import PoolExecutor
from optbench.execution.progress import Progress
from optbench.execution.start import usable_torch_cache
from optbench.execution.suite import Suite
from optbench.execution.task import Outcome, Task, group_of
from optbench.records.analysis import BEFORE
from optbench.records.files import (
    ENVIRONMENT,
    REJECTED,
    SUITE,
    BrokenEnvironmentError,
    read_environment,
    read_records,
)
from optbench.records.merge import join_environments
from optbench.records.schema import OWN_CORE, RECORDS, Record
from optbench.records.splits import other_splits, splits_of
from optbench.records.store import MAX_SHOWN_PATH, Store

if TYPE_CHECKING:
    from optbench.execution.cluster.crew import Crew

RETRIED = ("failed", "timeout", "killed")  # statuses that `--retry-failed` runs again
MAX_REASONS = 10  # reasons of failure that are printed; the report has them all
Say = Callable[[str], Any]


def run_suite(suite: Suite, out: Path, options: RunOptions, say: Say = print) -> list[Record]:
    """Run what has no record yet and return the records of all planned trials, in the order of the plan.

    say: told what goes on, a line at a time. Raises RequestError before anything runs for whatever is wrong with the
    request, and ExecutorError where the workers fail; what had ended by then has its records.
    """
    if other := usable_torch_cache():
        say(other)
    with _crew(options, out, say) as crew, LearnedCatalog(options.plugins) as catalog:
        return _run_suite(suite, out, options, say, catalog, crew)


@contextlib.contextmanager
def _crew(options: RunOptions, out: Path, say: Say) -> Iterator[Crew | None]:
    """The machines of a cluster, where one is asked for. Raises RequestError where there are none."""
    if options.cluster is None:
        yield None
        return
    try:
        from optbench.execution.cluster.crew import Crew
    except ModuleNotFoundError as error:
        raise RequestError(
            f"--cluster needs the package {error.name}: python -m pip install 'optbench[cluster]'"
        ) from None
    before: dict[str, Any] = {}
    with contextlib.suppress(BrokenEnvironmentError):
        before = read_environment(out)
    crew = Crew(options, say, before)
    try:
        yield crew
    finally:
        crew.close()


def _run_suite(
    suite: Suite, out: Path, options: RunOptions, say: Say, catalog: LearnedCatalog, crew: Crew | None
) -> list[Record]:
    if options.pinned:
        machine.own_cores()  # refused at once where there are none to choose
    device = crew.device if crew else machine.device(options.device)
    options = replace(options, device=device, timeout=suite.timeout, memory=suite.memory, timing=suite.lone)
    planned = plan(suite, catalog, device, catalog.passes_per_step)
    if options.strict_oracles:
        _refuse_unanswered(planned)
    if options.isolate:
        _refuse_not_isolated(planned, catalog)
    previous = _previous(out, planned, options.add)
    if not options.pinned and _one_a_core(suite, planned, options):
        options = replace(options, pinned=True)
    if planned.undivided:
        say(
            f"{', '.join(planned.undivided)}: no other split of the data can be drawn, so all seeds have the stated one"
        )
    if suite.seconds is not None and options.workers is None:
        options = replace(options, workers=1)  # whoever shares the machine gets less done in a second
    workers = options.workers or (1 if device == "cuda" else os.cpu_count() or 1)
    facts = environment(planned, catalog, workers, options, crew.own_device if crew else None, catalog.facts)
    with Store(out) as results:
        there = len(results.records)
        facts |= _stated(facts, out, there)
        if results.rejected:
            say(f"{results.rejected} lines of {out / RECORDS} were no records, or doubled: kept in {out / REJECTED}")
        _forget_changed(results, planned, say)
        if options.retry_failed:
            _forget_failed(results, planned, say)
        todo = [task for task in planned.tasks if task.trial.key not in results.records]
        results.write(SUITE, suite.toml())
        if crew and todo:
            crew.prepare(planned.tasks, catalog, options, anew=len(results.records) < there)

        def write_facts(more: Mapping[str, Any] = MappingProxyType({})) -> None:
            facts.update(more)
            found = join_environments([facts | (crew.facts() if crew else {}), *previous])
            results.write(ENVIRONMENT, json.dumps(found, indent=1) + "\n")

        write_facts()
        if done := len(planned.tasks) - len(todo):
            say(f"{done} of {len(planned.tasks)} trials have their record in {out}; {len(todo)} to run")
        if todo:
            try:
                before = results.rejected
                _Coordinator(results, catalog, options, workers, say, crew, write_facts).run(planned, todo)
                results.settle()
                if written := results.rejected - before:
                    say(f"{written} lines of {out / RECORDS} are not this run's: kept in {out / REJECTED}")
            finally:
                if crew:
                    write_facts()
        return [results.records[trial.key] for trial in planned.trials]


def _one_a_core(suite: Suite, planned: Plan, options: RunOptions) -> bool:
    """Whether trials run for their clock on all cores, though nobody asked: where the suite has it so, or one seed.

    With a single seed they are all that there is, and one after another they would take as long as there are cores.
    """
    wanted = (suite.pinned or suite.seeds == 1) and suite.timing is None and suite.seconds is None
    if not wanted or len(planned.tasks) <= MAX_TRIALS:
        return False
    if options.cluster is not None or options.device != "cpu" or options.workers == 1:
        return False
    try:
        return len(machine.own_cores()) > 1
    except RequestError:  # a system that lets no process choose
        return False


def _stated(facts: dict[str, Any], out: Path, ended: int) -> dict[str, Any]:
    """The analysis of the suite with how many trials had ended when it was first stated; {} where there is none.

    out: the folder, whose environment has the analysis of an earlier start. ended: the trials that have a record.
    """
    if not facts.get("analysis"):
        return {}
    earlier: Any = {}
    with contextlib.suppress(BrokenEnvironmentError):
        earlier = read_environment(out).get("analysis") or {}
    same = isinstance(earlier, dict) and {**earlier, BEFORE: 0} == {**facts["analysis"], BEFORE: 0}
    return {"analysis": {**facts["analysis"], BEFORE: earlier.get(BEFORE, ended) if same else ended}}


def _refuse_unanswered(planned: Plan) -> None:
    """Raises RequestError where an optimizer needs gradients, or more, of a problem that gives none."""
    for task in planned.tasks:
        if reason := task.unsupported_reason:
            raise RequestError(
                f"{task.trial.label} on {task.trial.problem}: {reason}; mend the loss (rounding, .detach() and .item() "
                "take gradients away), or compare methods that need values alone, as pso, cma_es and random_search"
            )


def _refuse_not_isolated(planned: Plan, catalog: LearnedCatalog) -> None:
    """Raises RequestError where an optimizer of others needs more than points, losses and gradients."""
    for task in planned.tasks:
        if catalog.is_own(task.trial.optimizer) or task.unsupported_reason:
            continue
        reason = getattr(task.built.optimizer, "demand", None)
        if task.built.needs == "exact":
            reason = "it reads the structure of its problem"
        if not task.scorer:
            reason = "its problem stands in the same file"
        if reason:
            raise RequestError(f"{task.trial.label} cannot run isolated: {reason}; leave it or --isolate out")


def _previous(out: Path, planned: Plan, add: bool) -> list[dict[str, Any]]:
    """The environment of a folder that is added to, if any. Raises RequestError for a folder of another plan.

    A plan that contains all of the folder's, with more seeds for instance, is no other plan.
    """
    try:
        out.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a name that no file can have
        raise RequestError(f"cannot write to {str(out)[:MAX_SHOWN_PATH]}: {error.strerror}") from None
    found: dict[str, Any] = {}
    with contextlib.suppress(BrokenEnvironmentError):
        found = read_environment(out)
    if add:
        _refuse_other_splits(out, found, planned)
        return [found] if found else []
    known = {trial["key"] for trial in found.get("plan", [])} or {record.key for record in read_records(out)[0]}
    others = known - {trial.key for trial in planned.trials}
    if others:
        raise RequestError(
            f"{out} holds another plan: {len(others)} of its {len(known)} trials are not in this one; "
            "choose another --out, or join them with --add"
        )
    return []


def _refuse_other_splits(out: Path, found: dict[str, Any], planned: Plan) -> None:
    """Raises RequestError where a folder has the seeds of a problem on other splits than this plan."""
    mine = splits_of(trial.as_data() for trial in planned.trials)
    if odd := other_splits(splits_of(found.get("plan", [])), mine):
        raise RequestError(f"{out} has {odd}; choose another --out, for one folder has one way of dividing the data")


def _forget_changed(results: Store, planned: Plan, say: Say) -> None:
    """Drop the records of planned trials whose problem or optimizer has another source now."""
    changed = [
        task.trial.key
        for task in planned.tasks
        if (record := results.records.get(task.trial.key)) and record.fingerprint != task.fingerprint
    ]
    if changed:
        say(f"{len(changed)} trials run again: the source or data of their problem or optimizer have changed")
        results.forget(changed)


def _forget_failed(results: Store, planned: Plan, say: Say) -> None:
    """Drop the records of planned trials that failed, timed out or were killed."""
    keys = {trial.key for trial in planned.trials}
    failed = [record.key for record in results.records.values() if record.status in RETRIED and record.key in keys]
    if failed:
        say(f"{len(failed)} trials run again: they failed, timed out or were killed")
        results.forget(failed)


class _Coordinator:
    """Runs what is to do through executors, and writes every record as it comes."""

    def __init__(
        self,
        results: Store,
        catalog: LearnedCatalog,
        options: RunOptions,
        workers: int,
        say: Say,
        crew: Crew | None,
        say_more: Callable[[dict[str, Any]], None],
    ) -> None:
        """say_more: takes what is found out of the machine on the way, for the environment."""
        self._results, self._catalog, self._options = results, catalog, options
        self._workers, self._say, self._crew, self._say_more = workers, say, crew, say_more

    def run(self, planned: Plan, todo: Sequence[Task]) -> None:
        """Most of it in lane groups on all workers, then one trial a cell alone, for its clock."""
        self._say_what_has_no_lanes(todo)
        unsupported = [task for task in todo if task.unsupported_reason]
        work = [task for task in todo if not task.unsupported_reason]
        clocked = {task.trial for task in timed_tasks(planned.tasks, self._options.timing)}
        if planned.suite.seconds is not None:
            clocked = {task.trial for task in work} if self._workers == 1 else set()
        alone = [task for task in work if task.trial in clocked]
        small = self._options.own_process and self._crew is None and fits(work)
        single = [task.trial for task in alone]
        trials, report = [task.trial for task in todo], self._options.report
        console = Console(stderr=True, quiet=self._options.verbosity < 0)
        with Progress(trials, self._workers, console, single, report) as progress:
            for task in unsupported:
                self._keep(task.record("inapplicable", task.unsupported_reason), 0.0, progress)
            if self._crew:
                for outcome in self._crew.answered(work):
                    self._take(outcome, progress)
                work = [task for task in work if task.trial.key not in self._results.records]
                alone = [task for task in work if task.trial in clocked]
            for outcome in self._outcomes([task for task in work if task.trial not in clocked], alone, small, progress):
                self._take(outcome, progress)
        self._say(progress.summary())
        self._say_what_failed(planned)

    def _take(self, outcome: Outcome, progress: Progress) -> None:
        """Write the records of a group, unless its trials have one: of two answers the first counts."""
        for record in outcome.records:
            if record.key not in self._results.records:
                record.wall_seconds, record.machine = outcome.seconds / len(outcome.records), outcome.machine
                self._keep(record, record.wall_seconds, progress)
        if self._options.verbosity > 0:
            self._say(_line(outcome))

    def _outcomes(
        self, shared: Sequence[Task], alone: Sequence[Task], small: bool, progress: Progress
    ) -> Iterator[Outcome]:
        """How every lane group ended: those that share the machine, then those that have it to themselves."""
        if self._crew:
            yield from self._crew_outcomes(self._crew, shared, alone, progress)
            return
        how = self._options
        widths = partial(self._catalog.widths, eager=how.eager)
        with machine.threads(WORKER_THREADS):  # as the workers will have, for what is measured to choose widths
            # Every cell's first seed first: soon there is a whole comparison, and the time that is left can be told.
            groups = sorted(
                lane_groups(shared, how.lanes, how.eager, widths, how.isolate, self._workers),
                key=lambda group: group.trials[0].seed,
            )
        if groups:
            yield from execute(self._executor(small, min(self._workers, len(groups))), groups)
        single = [group_of([task], how.isolate, alone=True) for task in alone]
        if single and how.pinned:
            cores = machine.own_cores()[: min(len(single), self._workers)]
            if len(cores) > 1 and (found := interference(cores)) is not None:
                self._say_more({"interference": round(found, 3)})
            note = f"{OWN_CORE}, {len(cores)} at a time"
            executor = self._executor(False, len(cores), cores)
            yield from execute(executor, [replace(group, note=note) for group in single])
        elif single:
            yield from execute(self._executor(small, 1), single)

    def _crew_outcomes(
        self, crew: Crew, shared: Sequence[Task], alone: Sequence[Task], progress: Progress
    ) -> Iterator[Outcome]:
        """The same on a cluster: what its workers are at already, then what is left; alone is one group a machine."""
        for some, by_itself in ((shared, False), (alone, True)):
            groups = [group for group in crew.under_way(some) if group.alone == by_itself]
            taken = {trial for group in groups for trial in group.trials}
            left = [task for task in some if task.trial not in taken]
            if by_itself:
                groups += [group_of([task], isolate=False, alone=True) for task in left]
            else:
                planned = lane_groups(left, self._options.lanes, self._options.eager, crew.widths)
                groups += sorted(planned, key=lambda group: group.trials[0].seed)
            if groups:
                yield from execute(crew.executor(by_itself, progress.workers_are), groups)

    def _executor(self, small: bool, workers: int, cores: Sequence[int] = ()) -> Executor:
        if small:
            return InProcessExecutor(self._catalog, self._options)
        spool = self._results.folder / ".spool"
        return PoolExecutor(self._catalog, self._options, spool, workers, WORKER_THREADS, cores)

    def _keep(self, record: Record, seconds: float, progress: Progress) -> None:
        self._results.append(record)
        progress.add(record, seconds)

    def _say_what_has_no_lanes(self, todo: Sequence[Task]) -> None:
        if self._options.lanes == 1 or len(todo) == 1:
            return
        names = list(dict.fromkeys(task.trial.problem for task in todo if not task.problem.vmaps))
        if names:
            self._say(f"{', '.join(names)}: torch.vmap cannot batch this network, so its trials run one by one")

    def _say_what_failed(self, planned: Plan) -> None:
        records = [self._results.records[trial.key] for trial in planned.trials]
        if plain := [record for record in records if UNCAPTURED in (record.note or "")]:
            self._say(f"{len(plain)} trials ran slower than they could; {plain[0].note}")
        failed = [record for record in records if record.status in FAILED]
        reasons = sorted({f"{one.problem} x {one.label}: {one.status}, {one.error}" for one in failed})
        for reason in reasons[:MAX_REASONS]:
            self._say(f"  {reason}")
        if len(reasons) > MAX_REASONS:
            self._say(f"  and {len(reasons) - MAX_REASONS} more, all in the report")


def _line(outcome: Outcome) -> str:
    first, lanes = outcome.records[0], len(outcome.records)
    how = "alone, for its clock" if outcome.group.alone else f"{lanes} trial{'s' * (lanes != 1)}"
    return f"  {first.problem} x {first.label}: {how}, {outcome.seconds:.1f} s, {first.status}"
