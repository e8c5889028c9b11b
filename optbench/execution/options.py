"""How a suite is run, as against what it asks for: one value, from the command line to the worker processes."""

from __future__ import annotations

from dataclasses import dataclass

from optbench.core.trial import RequestError

GIB = 2**30  # bytes


@dataclass(frozen=True)
class RunOptions:
    """Plain data that any process can be sent. Raises RequestError for a number that makes no sense.

    timeout, memory and timing are taken from the suite, whatever they are here.
    """

    workers: int | None = None  # processes; None: one a core, or one where a GPU does the work
    lanes: int | None = None  # the most trials that share one program; None: as many as pay
    device: str = "cpu"  # "cpu", "cuda" or "auto"
    plugins: tuple[str, ...] = ()  # plugin files
    eager: bool = False  # neither tracing nor captured graphs: every operation is PyTorch's own, one by one
    timeout: float = 120.0  # seconds that a trial may take
    memory: float = 4.0  # GiB that a worker process may hold
    timing: int = 1  # trials a cell that are run by themselves at the end, so that seconds can be compared
    pinned: bool = False  # those trials run as many at a time as there are cores, each on a core of its own
    retry_failed: bool = False  # trials that failed, timed out or were killed are run again
    add: bool = False  # into a folder of another plan, whose records stay
    strict_oracles: bool = False  # an optimizer that asks more than a problem answers is refused, not inapplicable
    own_process: bool = False  # True: nobody else's code runs in this process, so a small run may stay inside it
    command: str = "optbench run"  # as a user would type it again
    report: bool = False  # one is written afterwards, which the time left counts
    cluster: str | None = None  # a scheduler's address, its file, or local:N; None: this machine's own pool
    cluster_wait: float = 60.0  # seconds that a scheduler and its first worker are waited for
    moved: tuple[tuple[str, str], ...] = ()  # (path where the run was started, path here) of files that were sent
    isolate: bool = False  # optimizers of others run in a process that has neither problem, data, meter nor scorer
    verbosity: int = 0  # -1: errors alone; 0; 1: every lane group as it ends

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise RequestError(f"--workers {self.workers} must be at least 1; left out, it is one a core")
        if self.lanes is not None and self.lanes < 1:
            raise RequestError(f"--lanes {self.lanes} must be at least 1, or auto")
        if self.isolate and (self.device != "cpu" or self.cluster is not None):
            raise RequestError("--isolate shares memory on this machine's processors: leave --device and --cluster out")
        if self.cluster is not None and self.workers is not None:
            raise RequestError("--workers is for this machine; a cluster has those that it has, local:N has N")
        if self.pinned and (self.cluster is not None or self.device != "cpu"):
            where = "on a cluster they run one a machine" if self.cluster else "a GPU runs one at a time"
            raise RequestError(f"--pinned is for trials on the cores of this machine; {where}")
        if not self.cluster_wait > 0:
            raise RequestError(f"--cluster-wait {self.cluster_wait:g} must be a positive number of seconds")

    @property
    def memory_bytes(self) -> int:
        return int(self.memory * GIB)
