"""optbench: the same torch networks trained by every family of optimizers, every unit of work on one axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.records.reader import curves, load
    from optbench.records.schema import Record

__all__ = ["curves", "load", "run"]


def run(suite: str = "quick", out: str | Path | None = None, **options: Any) -> list[Record]:
    """Run a suite as `python -m optbench run` does and return its records; the report is not written.

    options: problems, optimizers (lists of specs), seeds, passes, workers, lanes, device, plugins.
    Raises optbench.core.trial.RequestError for a bad request, before anything runs.
    """
    from optbench.execution.request import run_request

    return run_request(suite, out, **options)[0]


def __getattr__(name: str) -> Any:
    if name in ("load", "curves"):
        from optbench.records import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'optbench' has no attribute {name!r}")
