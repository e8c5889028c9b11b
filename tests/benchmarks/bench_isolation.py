"""What `--isolate` costs: processor time of the same trials beside their problem and without it, in turn.

A gradient step, a population and a convolutional network, each by a plugin written here. A long trial less a short one,
so that what starting costs is not in it; of all processes that take part. Prints a table of minima. Unix alone.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

import psutil

from optbench.execution.options import RunOptions
from optbench.execution.runner import run_suite
from optbench.execution.start import start_fork_server
from optbench.execution.suite import Suite

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
    ("a gradient step", "mlp_digits", "steps", 200.0),
    ("a population of 64", "mlp_digits", "population", 1600.0),
    ("a gradient step of a CNN", "cnn_digits", "steps", 30.0),
)


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
            least = {False: math.inf, True: math.inf}
            for k in range(rounds):
                for isolate in (False, True):
                    out = Path(folder) / f"{optimizer}_{problem}_{k}_{isolate}"
                    short, long = (
                        _seconds(problem, optimizer, amount, plugin, out / str(amount), isolate)
                        for amount in (passes / 8, passes)
                    )
                    least[isolate] = min(least[isolate], 1000 * (long[0] - short[0]) / (long[1] - short[1]))
            plain, isolated = least[False], least[True]
            print(f"| {what} | {plain:.3f} | {isolated:.3f} | {isolated - plain:.3f} |", flush=True)


def _seconds(
    problem: str, optimizer: str, passes: float, plugin: Path, out: Path, isolate: bool
) -> tuple[float, float]:
    """Processor seconds of all workers that a run had, and the calls of its trial."""
    suite = Suite("price", (problem,), (optimizer,), seeds=1, passes=passes, timeout=600, timing=False)
    out.parent.mkdir(exist_ok=True)
    server = psutil.Process(forkserver._forkserver._forkserver_pid)
    before = server.cpu_times()
    options = RunOptions(workers=1, plugins=(str(plugin),), isolate=isolate, verbosity=-1)
    (record,) = run_suite(suite, out, options, _quiet)
    if record.error:
        raise RuntimeError(record.error)
    time.sleep(0.5)  # for the fork server to take in the last of them
    after = server.cpu_times()
    took = sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
    return took, record.evaluations / (64 if optimizer == "population" else 1)


def _quiet(*_: object) -> None:
    """Say nothing."""


if __name__ == "__main__":
    start_fork_server()
    main()
