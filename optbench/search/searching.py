"""From what a user hands over to a search: names, budgets and the runs of a request. Behind `optbench.recommend`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optbench.core.trial import RequestError
from optbench.execution.options import RunOptions
from optbench.execution.request import Request
from optbench.execution.runner import run_suite
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.classes import Names
from optbench.search.recommendation import Recommendation, candidates, recommendation


def recommend(
    problem: Any,
    optimizers: Any,
    *,
    seconds: float,
    passes: float | None,
    seeds: int,
    held_out: int,
    column: str | None,
    workers: int | None,
    device: str,
    out: str | Path | None,
    progress: bool,
) -> Recommendation:
    """What `optbench.recommend` does, which says what the arguments are. Raises RequestError as it says."""
    if importlib.util.find_spec("optuna") is None:
        raise RequestError("recommend needs the package optuna: python -m pip install 'optbench[recommend]'")
    if not seconds > 0:
        raise RequestError(f"seconds={seconds} must be a positive number")
    if seeds < 1 or held_out < 2:
        raise RequestError(f"seeds={seeds} must be at least 1, held_out={held_out} at least 2")
    with Names() as names:
        tasks, methods = names.of(problem), names.of(optimizers)
        if len(tasks.specs) != 1:
            raise RequestError(f"recommend answers for one problem, not for {len(tasks.specs)}")
        files = (*tasks.files, *methods.files)
        catalog, text = Catalog(files), tasks.specs[0]
        found = candidates(methods.specs, catalog)
        stated = catalog.problem(text)
        chosen = column or ("valid_loss" if stated.data().valid is not None else "loss")
        budget = float(passes or stated.passes)
        folder = Path(out) if out is not None else Path("results") / f"recommend_{Request(problems=[text]).plain_name}"
        options = RunOptions(
            workers=workers,
            device=device,
            plugins=files,
            add=True,
            command="optbench.recommend(...)",
            verbosity=0 if progress else -1,
        )

        def run(specs: Sequence[str], budget: float, count: int) -> list[Record]:
            request = Request(
                out=folder,
                problems=tasks.specs,
                optimizers=specs,
                seeds=count,
                passes=budget,
                timing=0,
                files=files,
                named=True,
            )
            return run_suite(request.resolved_suite(), folder, options, lambda line: None)

        return recommendation(
            text,
            chosen,
            budget,
            stated.track != "function",
            found,
            run,
            seconds=seconds,
            seeds=seeds,
            held_out=held_out,
            workers=workers or os.cpu_count() or 1,
            folder=folder,
        )
