"""The executor of small runs: optbench's and torch's own methods in this very process, without starting another.

It saves the seconds that worker processes take to start. What it gives up: a trial is stopped at its next Python
instruction, not killed. So code of others never runs here, nor does a run in somebody else's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import torch

from optbench.core.scoring import Point
from optbench.engine.flops import costs
from optbench.execution.held import held_bytes
from optbench.execution.lane_group import Interrupted, batch_size
from optbench.execution.machine import threads
from optbench.execution.options import RunOptions
from optbench.execution.salvage import ended_early
from optbench.execution.task import LaneGroup, Outcome, Task
from optbench.execution.worker import run_in_parts
from optbench.registry.catalog import Catalog

MAX_TRIALS = 4  # of a run that may stay in this process
MAX_SECONDS = 4.0  # that it may be expected to take: what starting workers costs
_FLOPS_PER_SECOND, _STEP_SECONDS = 5e9, 1e-3  # what a trial is expected to reach, and what a step takes at least


class InProcessExecutor:
    """Lane groups one after another in this process, with one thread. Implements `Executor`."""

    def __init__(self, catalog: Catalog, options: RunOptions) -> None:
        self._catalog, self._options = catalog, options
        self._waiting: deque[LaneGroup] = deque()

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        self._waiting.extend(groups)

    def outcomes(self) -> Iterator[Outcome]:
        while self._waiting:
            with threads(1):
                outcome = self._run(self._waiting.popleft())
            yield outcome

    def close(self) -> None:
        self._waiting.clear()

    def _run(self, group: LaneGroup) -> Outcome:
        curves: list[list[Point]] = [[] for _ in group.trials]
        began = time.monotonic()
        watch = _Watch(self._options, len(group.trials))
        try:
            with watch:
                records = run_in_parts(group, self._catalog, self._options, lambda k, point: curves[k].append(point))
            return Outcome(group, records, time.monotonic() - began)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return Outcome(group, [], time.monotonic() - began, out_of_memory=True)
        except Interrupted:
            records = ended_early(group, self._catalog, watch.status, watch.reason, curves)
            return Outcome(group, records, time.monotonic() - began, out_of_memory=watch.status == "killed")


class _Watch:
    """Raises Interrupted in the thread that entered it once the trial takes too long or too much memory."""

    def __init__(self, options: RunOptions, trials: int) -> None:
        self.status = self.reason = ""
        self._options, self._seconds = options, options.timeout * trials
        self._thread_id = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        end = time.monotonic() + self._seconds
        while not self._over.wait(0.1):
            if time.monotonic() > end:
                self.status, self.reason = "timeout", f"did not return within {self._options.timeout:g} s"
            elif held_bytes() > self._options.memory_bytes:
                self.status, self.reason = "killed", f"took more than {self._options.memory:g} GiB of memory"
            else:
                continue
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread_id), ctypes.py_object(Interrupted))
            return


def fits(tasks: Sequence[Task]) -> bool:
    """Whether so little is to be run, and of nobody else's code, that this process may run it."""
    if len(tasks) > MAX_TRIALS or any(task.third_party for task in tasks):
        return False
    return sum(map(_expected_seconds, tasks)) <= MAX_SECONDS


def _expected_seconds(task: Task) -> float:
    """Seconds that a trial may take here: its arithmetic, and its steps where those are many."""
    trial, problem = task.trial, task.problem
    if task.unsupported_reason:
        return 0.0
    with contextlib.suppress(Exception), threads(1):  # what is wrong with a problem its trial will say
        cost = costs(problem, batch_size(task.built, problem), trial.device)
        return trial.passes * (cost.one_pass / _FLOPS_PER_SECOND + cost.one_pass / cost.gradient * _STEP_SECONDS)
    return 0.0
