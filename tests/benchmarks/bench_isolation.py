"""What `--isolate` costs: seconds of the same trials beside their problem and without it, in turn.

A gradient step, a population and a convolutional network, each by a plugin written here. Prints a table of minima.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from itertools import pairwise
from pathlib import Path

from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.schema import Record

PLUGIN = '''"""Methods to be timed."""
from dataclasses import dataclass
from typing import ClassVar
import torch


class Steps(torch.optim.SGD):
    """A gradient step."""
    def __init__(self, params, lr=0.01): super().__init__(params, lr=lr, momentum=0.9)


@dataclass(frozen=True)
class Population:
    """Generations of 64 candidates."""
    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
    def minimise(self, f):
        x = f.start()
        while True:
            f.value(x[:, None] + 0.1 * f.randn(64, f.dim))
'''
CASES = (
    ("a gradient step", "mlp_digits", "steps", 300.0),
    ("a population of 64", "mlp_digits", "population", 3000.0),
    ("a gradient step of a CNN", "cnn_digits", "steps", 60.0),
)
WINDOW = 8  # calls between two points of a curve, at least, that are timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each is run, in turn (default: 3)")
    rounds = parser.parse_args().rounds
    print("| what | beside its problem, ms a call | isolated, ms a call | more, ms |\n|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "timed.py"
        plugin.write_text(PLUGIN, encoding="utf-8")
        for what, problem, optimizer, passes in CASES:
            suite = Suite("price", (problem,), (optimizer,), seeds=1, passes=passes, timeout=600)
            least = {False: math.inf, True: math.inf}
            for k in range(rounds):
                for isolate in (False, True):
                    options = RunOptions(workers=1, plugins=(str(plugin),), isolate=isolate, verbosity=-1)
                    (record,) = run_suite(suite, Path(folder) / f"{optimizer}_{problem}_{k}_{isolate}", options, _quiet)
                    if record.error:
                        raise RuntimeError(record.error)
                    calls = record.evaluations / (64 if optimizer == "population" else 1)
                    least[isolate] = min([least[isolate], *_windows(record, calls)])
            plain, isolated = least[False], least[True]
            print(f"| {what} | {plain:.3f} | {isolated:.3f} | {isolated - plain:.3f} |", flush=True)


def _windows(record: Record, calls: float) -> list[float]:
    """Milliseconds a call between points of the curve: on a busy machine some of them had it to themselves."""
    found = []
    for one, two in pairwise(record.curve):
        share = (two["passes"] - one["passes"]) / record.passes
        if share * calls >= WINDOW:
            found.append(1000 * (two["seconds"] - one["seconds"]) / (share * calls))
    return found


def _quiet(*_: object) -> None:
    """Say nothing."""


if __name__ == "__main__":
    main()
