"""The functions of `optbench`: real ones with their arguments, which import what they need when they are called."""

from optbench.api.own import check, problem, track
from optbench.api.results import curves, export, from_frame, load
from optbench.api.training import compare, recommend, record, run

__all__ = [
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
    "track",
]
