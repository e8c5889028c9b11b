"""The functions of `optbench`: real ones with their arguments, which import what they need when they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from optbench.records.schema import Record
    from optbench.testing.conformance import Finding


def run(
    suite: str | None = None,
    out: str | Path | None = None,
    *,
    problems: Sequence[str | type] = (),
    optimizers: Sequence[str | type] = (),
    seeds: int | None = None,
    passes: float | None = None,
    tune: int | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    timing: bool | None = None,
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
) -> list[Record]:
    """Run trials as `optbench run` does and return their records, in the order of the plan; no report is written.

    Trials that have a record in the folder are not run again. Works in a script without `if __name__ == "__main__"`.

    suite: a built-in suite or a TOML file. Left out: `quick`, or a request of its own where problems or optimizers are
        named: each problem's own budget, and a default set of whichever side is not named.
    out: the results folder; default `results/<name of the suite or request>`.
    problems, optimizers: names, import paths ("torch.optim:NAdam") or text like "adam[lr=0.01,0.1]"; or classes.
    seeds: so many, from 0 on. passes: the budget, in passes over the training set, of every trial.
    tune: configurations tried of every optimizer that has a search space.
    timeout: seconds that a trial may take. memory: GiB that a worker process may hold.
    timing: run one trial a cell alone at the end, so that seconds can be compared.
    workers: processes; default one a core. lanes: the most trials that share one program; default as many as pay.
    cluster: a dask scheduler's address or file, or "local:N"; the trials run there.
    cluster_wait: seconds that a scheduler and its first worker are waited for.
    device: "cpu", "cuda" or "auto". plugins: Python files with optimizers or problems of your own.
    eager: run every operation as PyTorch does, without tracing. retry_failed: run failed trials again.
    add: let the folder hold another plan, which then is joined with this one.
    trust: run Python files that the suite file itself names.

    Raises optbench.core.trial.RequestError for a bad request, before anything runs, and
    optbench.execution.executor.ExecutorError where worker processes cannot run; what had ended by then is kept.
    """
    from optbench.registry.plugins import refuse_run_while_loading

    refuse_run_while_loading()
    from optbench.execution.options import RunOptions
    from optbench.execution.request import Request
    from optbench.execution.runner import run_suite
    from optbench.registry.classes import named

    tasks, methods = named(problems), named(optimizers)
    files = (*(str(file) for file in plugins), *tasks.files, *methods.files)
    request = Request(
        suite, out, tasks.specs, methods.specs, seeds, passes, tune, timeout, memory, timing, files, trust
    )
    options = RunOptions(
        workers=workers,
        lanes=lanes,
        cluster=cluster,
        cluster_wait=cluster_wait,
        device=device,
        plugins=files,
        eager=eager,
        retry_failed=retry_failed,
        add=add,
        command="optbench.run(...)",
    )
    wanted = request.resolved_suite()
    return run_suite(wanted, request.folder(wanted), options)


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
