"""Processor seconds by phase, of every process of a command that runs with this folder on its PYTHONPATH.

Python imports a module of this name by itself at its start, in the workers too. It does nothing unless OPTBENCH_PHASES
names a folder; then every process writes {phase: processor seconds} to a file of its own there. A phase is the time in
one of the functions of `PHASES`, less that in others of them which it calls; "start-up" is what is left of a process.
"""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

# module: {function, or Class.method: phase}
PHASES = {
    "optbench.execution.plan": {"plan": "planning"},
    "optbench.execution.environment": {"environment": "planning"},
    "optbench.execution.width": {"worthwhile": "lane measurement"},
    "optbench.execution.worker": {"_answer": "setup", "prepare": "start-up"},
    "optbench.execution.lane_group": {"train": "training", "_warm_up": "warm-up", "objective": "setup"},
    "optbench.execution.in_process": {"InProcessExecutor._run": "setup"},
    "optbench.engine.data": {"splits": "data"},
    "optbench.engine.compile.step": {"compile_step": "tracing"},
    "optbench.core.scoring": {"Scoring._scores": "scoring"},
    "optbench.records.store": {"Store.append": "records"},
    "optbench.report": {"write": "report"},
}
ALONE = "timing pass"  # what a group that runs for its clock does, whatever it is


class Stopwatch:
    """The processor seconds of this process, each given to the phase that is under way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.begin()

    def begin(self) -> None:
        """A process begins, perhaps forked from a server."""
        self._under_way, self._since = ["start-up"], 0.0
        self.spent: dict[str, float] = defaultdict(float)

    def enter(self, phase: str) -> None:
        """A phase begins inside of those that are under way."""
        self._settle()
        self._under_way.append(ALONE if ALONE in self._under_way else phase)

    def leave(self) -> None:
        """The innermost phase ends; the file is written, for a worker may be killed at any time."""
        self._settle()
        self._under_way.pop()
        if len(self._under_way) == 1:
            self.write()

    def write(self) -> None:
        """What there is so far, into the file of this process."""
        self._settle()
        whole = self._folder / f"{os.getpid()}.json"
        part = whole.with_suffix(".part")  # a worker may be stopped while it writes
        part.write_text(json.dumps(self.spent), encoding="utf-8")
        part.replace(whole)

    def _settle(self) -> None:
        now = time.process_time()
        self.spent[self._under_way[-1]] += now - self._since
        self._since = now


def timed(function: Callable[..., Any], phase: str, stopwatch: Stopwatch) -> Callable[..., Any]:
    """The function, its time given to a phase."""

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        alone = any(getattr(one, "alone", False) is True for one in args if type(one).__name__ == "LaneGroup")
        stopwatch.enter(ALONE if alone else phase)
        try:
            return function(*args, **kwargs)
        finally:
            stopwatch.leave()

    return inside


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of `PHASES` and lets their functions be timed before anybody has them."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if name not in PHASES:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        for other in sys.meta_path if found is None else ():
            if other is not self and (found := other.find_spec(name, path, target)):
                break
        if found is None or found.loader is None:
            return None
        execute = found.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for place, phase in PHASES[name].items():
                *owners, last = place.split(".")
                owner = getattr(module, owners[0]) if owners else module
                setattr(owner, last, timed(getattr(owner, last), phase, self._stopwatch))

        found.loader.exec_module = exec_module  # type: ignore[method-assign]
        return found


if folder := os.environ.get("OPTBENCH_PHASES"):
    watch = Stopwatch(Path(folder))
    sys.meta_path.insert(0, Finder(watch))
    atexit.register(watch.write)
    if hasattr(os, "register_at_fork"):  # the server that workers are forked from ends without a word
        os.register_at_fork(before=watch.write, after_in_child=watch.begin)
