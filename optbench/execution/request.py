"""What the command line asks for, carried out: one function a subcommand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optbench.execution.plan import Suite, read_suite
from optbench.execution.runner import Options, run_suite
from optbench.records.schema import Record


def run_request(
    suite: str = "quick",
    out: str | Path | None = None,
    *,
    problems: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    seeds: int | None = None,
    passes: float | None = None,
    workers: int = 0,
    lanes: int | None = None,
    tune: int | None = None,
    device: str = "cpu",
    plugins: Sequence[str] = (),
    command: str = "python -m optbench run",
) -> tuple[list[Record], Path]:
    """Run a suite with the given parts replaced: (records, folder). Raises RequestError."""
    wanted = _changed(read_suite(suite), problems, optimizers, seeds, passes, tune)
    folder = Path(out) if out is not None else Path("results") / wanted.name
    options = Options(workers, lanes, device, tuple(str(file) for file in plugins), command)
    return run_suite(wanted, folder, options), folder


def _changed(
    suite: Suite,
    problems: Sequence[str],
    optimizers: Sequence[str],
    seeds: int | None,
    passes: float | None,
    tune: int | None,
) -> Suite:
    if problems:
        budgets = {name: value for name, value in suite.budgets.items() if name in problems}
        suite = replace(suite, problems=tuple(problems), budgets=budgets)
    if optimizers:
        suite = replace(suite, optimizers=tuple(optimizers))
    if seeds is not None:
        suite = replace(suite, seeds=seeds)
    if tune is not None:
        suite = replace(suite, tune=tune)
    if passes is not None:
        suite = replace(suite, passes=passes, budgets={})
    return suite
