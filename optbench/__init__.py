"""optbench: the same torch networks trained by every family of optimizers, every unit of work on one axis.

    import optbench

    mine = optbench.problem(MyNetwork, "cross-entropy", (inputs, labels))
    optbench.compare(mine, ["adam", "sgd", "lbfgs"], seeds=10).verdict

    optbench.run(problems=["mlp_iris"], optimizers=["adam", "pso"], seeds=3, out="results/iris")
    trials = optbench.load("results/iris")  # a DataFrame, a row a trial
    points = optbench.curves("results/iris")  # a row a point of a curve

Importing this package imports nothing heavy: torch and pandas come with the first call that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optbench.api import check, compare, curves, export, from_frame, load, problem, recommend, record, run, track

if TYPE_CHECKING:
    from optbench.core.objective import Objective
    from optbench.core.problem import Best, Problem, Splits, split
    from optbench.report.interactive import Comparison

    __version__: str

__all__ = [
    "Best",
    "Comparison",
    "Objective",
    "Problem",
    "Splits",
    "__version__",
    "check",
    "compare",
    "curves",
    "export",
    "from_frame",
    "load",
    "problem",
    "recommend",
    "record",
    "run",
    "split",
    "track",
]

_FROM = {
    "Best": "optbench.core.problem",
    "Comparison": "optbench.report.interactive",
    "Objective": "optbench.core.objective",
    "Problem": "optbench.core.problem",
    "Splits": "optbench.core.problem",
    "split": "optbench.core.problem",
}


def __getattr__(name: str) -> Any:
    import importlib
    import importlib.metadata

    if name == "__version__":
        return importlib.metadata.version("optbench")
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    raise AttributeError(f"module 'optbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
