"""From trials to lane groups: which trials are trained as one program, and how many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from optbench.plugins import Catalog
from optbench.trial import Trial


def groups(trials: list[Trial], catalog: Catalog, width: int) -> Iterator[list[Trial]]:
    """Lane groups of at most `width`: trials that differ in the seed alone, where method and network allow it."""
    cells: dict[Trial, list[Trial]] = {}
    for trial in trials:
        cells.setdefault(replace(trial, seed=0), []).append(trial)
    for cell in cells.values():
        first = cell[0]
        problem = catalog.problem(first.problem)
        fits = catalog.optimizer(first.optimizer, dict(first.hyper)).lanes and problem.vmaps and not problem.stochastic
        step = width if fits else 1
        yield from (cell[k : k + step] for k in range(0, len(cell), step))
