"""Functions that train: `run`, `compare`, `recommend` and `record`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.core.problem import Problem
    from optbench.records.schema import Record
    from optbench.report.interactive import Comparison
    from optbench.search.recommendation import Recommendation
    from optbench.watch.recording import Path as Run


def run(
    suite: str | None = None,
    out: str | Path | None = None,
    *,
    problems: Any = (),
    optimizers: Any = (),
    seeds: int | None = None,
    passes: float | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    until: str | float = "",
    tune: int | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    timing: int | None = None,
    splits: int | None = None,
    pinned: bool = False,
    workers: int | None = None,
    lanes: int | None = None,
    cluster: str | None = None,
    cluster_wait: float = 60.0,
    device: str = "cpu",
    plugins: Sequence[str | Path] = (),
    eager: bool = False,
    retry_failed: bool = False,
    add: bool = False,
    trust: bool = False,
    isolate: bool = False,
) -> list[Record]:
    """Run trials as `optbench run` does and return their records, in the order of the plan; no report is written.

    Trials that have a record in the folder are not run again. Works in a script without `if __name__ == "__main__"`.

    suite: a built-in suite or a TOML file. Left out: `quick`, or a request of its own where problems or optimizers are
        named: each problem's own budget, and a default set of whichever side is not named.
    out: the results folder; default `results/<name of the suite or request>`.
    problems, optimizers: names, import paths ("torch.optim:NAdam") or text like "adam[lr=0.01,0.1]"; classes;
        instances; functions (parameters) -> torch optimizer, or (f) -> None that are a whole loop; {name: any of these}
    seeds: so many, from 0 on. passes: the budget, in passes over the training set, of every trial.
    steps: the budget as gradient steps on each problem's own minibatch. seconds: as time; then one trial runs at a
        time, unless workers says otherwise. until: what ends a trial, 0.05 or "valid_accuracy>=0.97".
    tune: configurations tried of every optimizer that has a search space.
    timeout: seconds that a trial may take. memory: GiB that a worker process may hold.
    timing: so many trials a cell run alone at the end, so that seconds can be compared; 0 for none.
    splits: divisions of each problem's data into training, validation and test data; seed s uses number s mod splits,
        and number 0 is the one that the problem states.
    pinned: run those one a core, each on its own, which is faster and disturbs them.
    workers: processes; default one a core. lanes: the most trials that share one program; default as many as pay.
    cluster: a dask scheduler's address or file, or "local:N"; the trials run there.
    cluster_wait: seconds that a scheduler and its first worker are waited for.
    device: "cpu", "cuda" or "auto". plugins: Python files with optimizers or problems of your own.
    eager: run every operation as PyTorch does, without tracing. retry_failed: run failed trials again.
    add: let the folder hold another plan, which then is joined with this one.
    trust: run Python files that the suite file itself names.
    isolate: run third-party optimizers in a process that has neither the problem, its data, the meter nor the scorer.

    Raises optbench.core.trial.RequestError for a bad request, before anything runs, and
    optbench.execution.executor.ExecutorError where worker processes cannot run; what had ended by then is kept.
    """
    return _trials(
        problems,
        optimizers,
        plugins,
        suite=suite,
        out=out,
        seeds=seeds,
        passes=passes,
        steps=steps,
        seconds=seconds,
        until=until,
        tune=tune,
        timeout=timeout,
        memory=memory,
        timing=timing,
        splits=splits,
        pinned=pinned,
        workers=workers,
        lanes=lanes,
        cluster=cluster,
        cluster_wait=cluster_wait,
        device=device,
        eager=eager,
        retry_failed=retry_failed,
        add=add,
        trust=trust,
        isolate=isolate,
        command="optbench.run(...)",
    )[1]


def compare(
    problems: Any,
    optimizers: Any = None,
    *,
    seeds: int = 10,
    passes: float | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    until: str | float = "",
    tune: int | None = None,
    timing: int = 0,
    splits: int | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    workers: int | None = None,
    lanes: int | None = None,
    cluster: str | None = None,
    device: str = "cpu",
    out: str | Path | None = None,
    progress: bool = True,
) -> Comparison:
    """Train the same networks by several optimizers and say which is better, and how sure that is.

    Works any number of times, in scripts without a guard, notebooks, threads and tests. Trials that have a record in
    the folder are not run again, unless the problem or the optimizer has changed.

    problems, optimizers: as `run` takes them, one or several; without optimizers, one of every family.
    seeds: of each. passes: the budget; left out, that of each problem. steps, seconds, until: as `run` takes them.
    tune: settings tried of every optimizer with a search space. timing: so many trials a cell are run
        alone, so that seconds can be compared. splits: divisions of the data, as `run` takes them.
    timeout, memory, workers, lanes, cluster, device: as `run` takes them.
    out: the results folder; left out, one in `results/` that is named after the request.
    progress: show how far it is.

    Raises optbench.core.trial.RequestError for a bad request, before anything runs, and
    optbench.execution.executor.ExecutorError where worker processes cannot run.
    """
    from optbench.execution.request import DEFAULT_OPTIMIZERS

    folder, records = _trials(
        problems,
        DEFAULT_OPTIMIZERS if optimizers is None else optimizers,
        out=out,
        seeds=seeds,
        passes=passes,
        steps=steps,
        seconds=seconds,
        until=until,
        tune=tune,
        timeout=timeout,
        memory=memory,
        timing=timing,
        splits=splits,
        workers=workers,
        lanes=lanes,
        cluster=cluster,
        device=device,
        named=True,
        add=True,
        strict_oracles=True,
        command="optbench.compare(...)",
        verbosity=0 if progress else -1,
        silent=True,
    )
    from optbench.report.interactive import Comparison

    return Comparison(folder, frozenset(record.key for record in records))


def recommend(
    problem: Any,
    optimizers: Any = (),
    *,
    seconds: float = 120.0,
    passes: float | None = None,
    seeds: int = 3,
    held_out: int = 10,
    column: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    out: str | Path | None = None,
    progress: bool = False,
) -> Recommendation:
    """Which optimizer and setting to use on a problem, found within a time, and how good it is on seeds of its own.

    Successive halving over optimizers and settings, the latter suggested by Optuna (the extra `recommend`). The best
    ones then run on seeds that the search never saw; their scores there are what the answer states.

    problem: as `compare` takes it, one. optimizers: to search over; where none is named, all built-in ones that need no
        optional package. seconds: for all of it; each optimizer gets a ninth of the budget, however long that takes.
    passes: the budget that a setting is chosen for; left out, the problem's own. seeds: of the search. held_out: of the
        test. column: what is scored, lower is better: "loss" or a loss of a split; left out, "valid_loss" where the
        problem has validation data, else "loss".
    workers, device, out, progress: as `compare` takes them.

    Raises optbench.core.trial.RequestError without the extra and for a bad request, before anything runs, or where no
    setting gave a finite score.
    """
    from optbench.registry.plugins import refuse_run_while_loading

    refuse_run_while_loading()
    from optbench.search.searching import recommend as searched

    return searched(
        problem,
        optimizers,
        seconds=seconds,
        passes=passes,
        seeds=seeds,
        held_out=held_out,
        column=column,
        workers=workers,
        device=device,
        out=out,
        progress=progress,
    )


def record(
    problem: str | Problem,
    optimizers: str | Sequence[str],
    passes: float | None = None,
    *,
    seed: int = 0,
    plugins: Sequence[str | Path] = (),
) -> list[Run]:
    """Train each optimizer once and return what was seen of it on the way: its points, at about 150 costs.

        run = optbench.record("mlp_digits", "adam", passes=20)[0]
        run.costs, run.losses("test")  # passes, and the loss then
        run.network(10)  # the network as it was at run.costs[10]

    problem: a name, or what `problem` made. optimizers: names with settings, as `run` takes them. passes: the budget;
    left out, the problem's own. seed: of every run. plugins: Python files with optimizers or problems of your own.
    A run that diverges says so in `run.status`, and ends where its numbers are finite no more.

    Raises optbench.core.trial.RequestError for a wrong name, or an optimizer that does not fit.
    """
    from optbench.registry.catalog import Catalog
    from optbench.watch.recording import record as recorded

    names = [optimizers] if isinstance(optimizers, str) else optimizers
    return recorded(problem, names, passes, seed, Catalog([str(file) for file in plugins]))


def _trials(
    problems: Any, optimizers: Any, plugins: Sequence[str | Path] = (), silent: bool = False, **stated: Any
) -> tuple[Path, list[Record]]:
    """The folder and records of a request. stated: what `execution.request.asked` takes. silent: print no lines."""
    from optbench.registry.plugins import refuse_run_while_loading

    refuse_run_while_loading()
    from optbench.execution.request import asked
    from optbench.execution.runner import run_suite
    from optbench.registry.classes import Names

    with Names() as names:
        tasks, methods = names.of(problems), names.of(optimizers)
        files = (*(str(file) for file in plugins), *tasks.files, *methods.files)
        wanted = asked({**stated, "problems": tasks.specs, "optimizers": methods.specs}, files)
        say = (lambda line: None) if silent else print
        return wanted.folder, run_suite(*wanted, say)
