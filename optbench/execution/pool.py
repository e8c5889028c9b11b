"""The pool executor, parent side: worker processes, each of which can be timed out or killed by itself."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from optbench.execution import worker
from optbench.execution.executor import ExecutorError
from optbench.execution.options import RunOptions
from optbench.execution.salvage import ended_early, read_points
from optbench.execution.start import worker_context
from optbench.execution.task import LaneGroup, Outcome
from optbench.registry.catalog import Catalog

Kind = tuple[str, ...]  # the third-party classes of a group


class PoolExecutor:
    """Lane groups through worker processes on this machine.

    What a group had measured when it was stopped is in its records. Other people's code may leave its process changed
    (a default type, a patched function), so groups of one set of third-party classes have workers that run nothing
    else: the kinds are run one after another. Implements `Executor`.
    """

    def __init__(self, catalog: Catalog, options: RunOptions, spool: Path, workers: int, threads: int = 1) -> None:
        """spool: a folder for points of trials under way. workers: processes at a time. threads: of each worker."""
        self._catalog, self._options, self._spool = catalog, options, spool
        self._workers, self._threads = workers, threads
        self._queued: dict[Kind, list[LaneGroup]] = {}
        self._waiting: dict[Any, LaneGroup] = {}
        self._pool: ProcessPool | None = None

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        for group in groups:
            self._queued.setdefault(group.third_party, []).append(group)

    def outcomes(self) -> Iterator[Outcome]:
        while self._queued:
            yield from self._outcomes_of(min(self._queued))

    def close(self) -> None:
        self._queued.clear()
        self._stop()

    def _outcomes_of(self, kind: Kind) -> Iterator[Outcome]:
        """The outcomes of all groups of one kind, through a pool of their own."""
        self._pool = self._start(min(self._workers, len(self._queued[kind])))
        while self._waiting or kind in self._queued:
            for group in self._queued.pop(kind, ()):
                self._waiting[self._schedule(self._pool, group)] = group
            done, _ = concurrent.futures.wait(self._waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield self._outcome(future, self._waiting.pop(future))
        self._stop()

    def _start(self, workers: int) -> ProcessPool:
        self._spool.mkdir(exist_ok=True)
        return ProcessPool(
            max_workers=workers,
            context=worker_context(),
            initializer=worker.prepare,
            initargs=(self._options, os.getpid(), self._threads, str(self._spool)),
        )

    def _stop(self) -> None:
        self._waiting.clear()
        if self._pool is None:
            return
        self._pool.stop()
        self._pool.join()
        self._pool = None
        for path in self._spool.iterdir():
            path.unlink()
        self._spool.rmdir()

    def _schedule(self, pool: ProcessPool, group: LaneGroup) -> Any:
        where = str(self._points_of(group))
        try:
            return pool.schedule(worker.work, args=[group, where], timeout=self._options.timeout * len(group.trials))
        except RuntimeError as error:  # pebble's, once its pool is broken
            raise self._failure(error) from None

    def _points_of(self, group: LaneGroup) -> Path:
        """Where the worker writes what it measures."""
        return self._spool / group.trials[0].key

    def _outcome(self, future: Any, group: LaneGroup) -> Outcome:
        """How a group ended, one way or another. Raises ExecutorError where the pool and not the group has failed."""
        took, out_of_memory = self._options.timeout * len(group.trials), False
        try:
            records, took, out_of_memory = future.result()
            return Outcome(group, records, took, out_of_memory)
        except concurrent.futures.TimeoutError:
            status, reason = "timeout", f"did not return within {self._options.timeout:g} s"
        except ProcessExpired as error:
            status, reason = "killed", self._why(error.exitcode)
            out_of_memory = error.exitcode == worker.EXIT_MEMORY
        except BrokenProcessPool as error:
            raise self._failure(error) from None
        except Exception as error:  # what came back could not be read
            status, reason = "failed", f"{type(error).__name__}: {error}"
        finally:
            points = read_points(self._points_of(group), len(group.trials))
        return Outcome(group, ended_early(group, self._catalog, status, reason, points), took, out_of_memory)

    def _failure(self, error: Exception) -> ExecutorError:
        told = self._spool / worker.START_ERROR
        reason = told.read_text(encoding="utf-8") if told.is_file() else f"{type(error).__name__}: {error}"
        return ExecutorError(f"the worker processes do not run ({reason}); what has ended is kept, nothing else is")

    def _why(self, code: int | None) -> str:
        if code == worker.EXIT_MEMORY:
            return f"took more than {self._options.memory:g} GiB of memory"
        if code == worker.EXIT_IGNORES_STOP:
            return f"ignored the budget: {worker.MAX_CALLS_AFTER_STOP} calls after Stop"
        if code is not None and code < 0:
            return f"its process was killed by signal {-code}"
        return f"exited its process with code {code}"
