"""The executor seam: what runs lane groups, in this process, in killable processes or on a cluster.

An executor carries pure data both ways. It writes no record and decides nothing about running a group again: the
coordinator does both (`execute` and the runner).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from optbench.core.trial import MachineError
from optbench.execution.grouping import smaller_groups
from optbench.execution.task import LaneGroup, Outcome


class ExecutorError(MachineError):
    """The executor itself has failed: what it did not finish has no result. The text is one clear line.

    group: whose trials were under way each time, where it was so.
    """

    def __init__(self, text: str, group: LaneGroup | None = None) -> None:
        super().__init__(text)
        self.group = group


class Executor(Protocol):
    """What runs lane groups and says how each ended."""

    def submit(self, groups: Iterable[LaneGroup]) -> None:
        """Take more lane groups, also while `outcomes` is being read."""

    def outcomes(self) -> Iterator[Outcome]:
        """Every submitted group once, as it ends, until none is left. Raises ExecutorError."""

    def close(self) -> None:
        """Cancel what waits, end what is under way and free what was taken. May be called twice."""


def execute(executor: Executor, groups: Iterable[LaneGroup]) -> Iterator[Outcome]:
    """The outcomes of lane groups, once each is final: a group that fails as a whole is run again in smaller ones.

    Closes the executor at the end, whatever happens. Raises ExecutorError.
    """
    try:
        executor.submit(groups)
        for outcome in executor.outcomes():
            again = smaller_groups(outcome)
            if again:
                executor.submit(again)
            else:
                yield outcome
    finally:
        executor.close()
