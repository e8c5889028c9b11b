"""The functions of `optbench`: real ones with their arguments, which import what they need when they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from optbench.core.problem import Problem
    from optbench.execution.tracking import Tracked
    from optbench.own.problem import OwnProblem
    from optbench.records.schema import Record
    from optbench.report.interactive import Comparison
    from optbench.search.recommendation import Recommendation
    from optbench.testing.conformance import Finding
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
    from optbench.registry.plugins import refuse_run_while_loading

    refuse_run_while_loading()
    from optbench.execution.options import RunOptions
    from optbench.execution.request import Request
    from optbench.execution.runner import run_suite
    from optbench.registry.classes import Names

    with Names() as names:
        tasks, methods = names.of(problems), names.of(optimizers)
        files = (*(str(file) for file in plugins), *tasks.files, *methods.files)
        request = Request(
            suite=suite,
            out=out,
            problems=tasks.specs,
            optimizers=methods.specs,
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
            files=files,
            trust=trust,
        )
        options = RunOptions(
            workers=workers,
            lanes=lanes,
            pinned=pinned,
            cluster=cluster,
            cluster_wait=cluster_wait,
            device=device,
            plugins=files,
            eager=eager,
            retry_failed=retry_failed,
            add=add,
            isolate=isolate,
            command="optbench.run(...)",
        )
        wanted = request.resolved_suite()
        return run_suite(wanted, request.folder(wanted), options)


def problem(
    model: Any,
    loss: Any,
    train: Any,
    valid: Any = None,
    test: Any = None,
    *,
    target: str | None = None,
    batch: int | None = None,
    passes: float = 50.0,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    name: str | None = None,
    start: str = "fresh",
) -> OwnProblem:
    """Your model and your data as a problem, which `compare` and `run` take.

    model: an nn.Module, its class, or a function that builds one. It may return a tensor, a mapping or several outputs.
    loss: "cross-entropy", "mse", "l1", "bce" (from logits), "output" (the model returns it), a torch loss module, or a
        function (outputs, target) -> scalar; one with a third argument is given the inputs too, for masks.
    train, valid, test: a torch Dataset, tensors, arrays or a DataFrame; (inputs, target); several inputs before the
        target; or a mapping whose inputs the model takes by name. Without valid and test, train is divided 70/15/15;
        without valid alone, 15 % of it are held out. False: none.
    target: the column of the target in a table or mapping.
    batch: samples of a minibatch; left out, all of up to 512 training samples, else 128. passes: the default budget.
    metrics: {name: (outputs, target) -> scalar}; left out, accuracy or R2 where the loss tells which.
    name: what tables call it. start: "fresh" draws new weights for every seed, "given" keeps those of the module.

    Raises optbench.core.trial.RequestError, in one line, where model, data and loss do not fit.
    """
    from optbench.own.problem import problem as made

    return made(
        model,
        loss,
        train,
        valid,
        test,
        target=target,
        batch=batch,
        passes=passes,
        metrics=metrics,
        name=name,
        start=start,
    )


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
    from optbench.registry.plugins import refuse_run_while_loading

    refuse_run_while_loading()
    from optbench.execution.options import RunOptions
    from optbench.execution.request import DEFAULT_OPTIMIZERS, Request
    from optbench.execution.runner import run_suite
    from optbench.registry.classes import Names
    from optbench.report.interactive import Comparison

    with Names() as names:
        tasks, methods = names.of(problems), names.of(DEFAULT_OPTIMIZERS if optimizers is None else optimizers)
        files = (*tasks.files, *methods.files)
        request = Request(
            out=out,
            problems=tasks.specs,
            optimizers=methods.specs,
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
            files=files,
            named=True,
        )
        wanted = request.resolved_suite()
        options = RunOptions(
            workers=workers,
            lanes=lanes,
            cluster=cluster,
            device=device,
            plugins=files,
            add=True,
            strict_oracles=True,
            command="optbench.compare(...)",
            verbosity=0 if progress else -1,
        )
        folder = request.folder(wanted)
        records = run_suite(wanted, folder, options, lambda line: None)
    return Comparison(Path(folder), frozenset(record.key for record in records))


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


def track(
    out: str | Path,
    problem: str,
    optimizer: str,
    *,
    seed: int = 0,
    samples: int,
    passes: float,
    device: str = "cpu",
) -> Tracked:
    """A training loop of your own as a trial of a result folder, for those who cannot hand over their loop.

        with optbench.track("results/mine", "my_task", "adam[lr=0.01]", seed=0, samples=len(train), passes=300) as t:
            while not t.done:
                ...  # a gradient step
                t.step(len(batch))  # counts its samples, forward and backward
                t.point(loss=..., valid_loss=...)  # where you score, off the clock

    optimizer: what is compared, with its settings. samples: in the training set. passes: the budget; a gradient step
    counts as three forward passes over its samples, for nobody can see what a foreign loop computes. The record is
    marked as self-reported. The same trial again replaces it. Raises optbench.core.trial.RequestError.
    """
    from optbench.execution.tracking import Tracked

    return Tracked(out, problem, optimizer, seed, samples, passes, device)


def export(what: str | Path | Comparison, kind: str, out: str | Path) -> None:
    """Write results for another program.

    what: a result folder or what `compare` gave; for benchopt the name of a suite.
    kind: "csv", "parquet", "tensorboard", "mlflow", "wandb", "ioh" or "benchopt". out: a new folder.

    Raises optbench.core.trial.RequestError for an unknown kind, without the extra that it needs, for a folder without
    records, and for an `out` that is there already.
    """
    from optbench.bridges import files

    files.export(what if isinstance(what, str | Path) else what.folder, kind, out)


def from_frame(frame: pd.DataFrame, out: str | Path | None = None) -> Comparison:
    """Runs that were made elsewhere, as a study with the same statistics, figures and page.

    frame: a row a scored point, with the columns `optimizer`, `loss` and `passes`, `steps` or `seconds` (the cost so
        far); also `problem`, `seed`, `valid_loss`, `test_accuracy` and other numbers, `budget`, `best`, `status`.
        `optbench.bridges.tables` says what each is.
    out: a new results folder, which `report` reads too; left out, one that is gone when this process ends.

    Raises optbench.core.trial.RequestError where a column lacks or a row makes no sense, and for an `out` with records.
    """
    from optbench.bridges import tables
    from optbench.report.interactive import Comparison

    folder = Path(out) if out is not None else tables.passing_folder()
    tables.write_curves(frame, folder, "curves from elsewhere")
    return Comparison(folder)


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


def load(folder: str | Path) -> pd.DataFrame:
    """A row a trial of a result folder: its record, its label, and the last point of its curve (`last_loss`, ...).

    Raises optbench.core.trial.RequestError where the folder holds no results.
    """
    from optbench.records import reader

    return reader.load(folder)


def curves(folder: str | Path) -> pd.DataFrame:
    """A row a curve point of a result folder, with the key, problem, label and seed of its trial.

    Raises optbench.core.trial.RequestError where the folder holds no results.
    """
    from optbench.records import reader

    return reader.curves(folder)


def check(target: str, plugins: Sequence[str | Path] = ()) -> list[Finding]:
    """Check an optimizer or problem for conformance, in a process that can be stopped: a finding a check.

    target: a name, an import path or a plugin file. plugins: files that the target needs.
    Raises optbench.core.trial.RequestError for a name that is neither.
    """
    from optbench.testing import conformance

    found: Any = conformance.check(target, [str(file) for file in plugins])
    return list(found)
