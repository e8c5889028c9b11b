"""Running a swarm of the package pyswarms (Miranda 2018) as it stands, except for what a benchmark must control.

Controlled: the seed (pyswarms draws from NumPy's global generator), its logging (a report.log in the working directory,
root handlers, a progress bar) and its histories (positions and velocities of every iteration, never freed).
"""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check_count, check_package, check_positive


def check_swarm(optimizer: str, swarm: int, weights: Mapping[str, float]) -> None:
    """Raise ModuleNotFoundError without pyswarms, ValueError for a swarm below 2 and a weight that is negative.

    optimizer: the name in the table.
    """
    check_package(optimizer, "pyswarms")
    check_count("swarm", swarm, 2)
    for name, value in weights.items():
        check_positive(name, value, zero=True)


def run_swarm(f: Objective, kind: str, particles: int, options: Mapping[str, float]) -> None:
    """Run a class of pyswarms.single from initial networks until Stop."""
    with no_logging_setup(), arrays.global_state(arrays.seed(f)):
        single = import_module("pyswarms.single")  # importing it configures logging, and so does each of its objects
        swarm = getattr(single, kind)(particles, f.dim, dict(options), init_pos=arrays.start(f, particles))
        swarm._populate_history = _ignore  # the library has no switch for it
        swarm.optimize(arrays.values(f, own=12 * f.dim), iters=sys.maxsize, verbose=False)


@contextmanager
def no_logging_setup() -> Iterator[None]:
    """Inside it, logging.config.dictConfig does nothing: pyswarms has no switch for its logging."""
    real = logging.config.dictConfig
    logging.config.dictConfig = _ignore  # type: ignore[assignment]  # put back below
    try:
        yield
    finally:
        logging.config.dictConfig = real


def _ignore(_: Any) -> None:
    """Takes the place of the logging setup, and of the history, which would keep every position of the run."""
