"""What a fault can reach: the run under way, its folder, and the dice that decide when and how."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from optbench.testing.faults.launch import Launcher, Run
from optbench.testing.faults.verify import whole_lines

ENDINGS = frozenset({0, 2, 130})  # exit codes a disturbed run may have; 1 is for --strict, and none of them is strict
GOES_ON = frozenset({0})  # of a run that was not harmed
TARGETS = ("parent", "worker", "fork_server")


@dataclass
class Scene:
    """One fault's surroundings. `undo` is called when the disturbed run has ended."""

    rng: random.Random
    logs: Path  # what is printed, and helper files; the fault is removed with it
    folder: Path  # the results folder
    reference: Path  # an undisturbed results folder of the same command
    command: Sequence[str]  # what the run is started with
    launcher: Launcher
    run: Run | None = None
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    environment: dict[str, str] = field(default_factory=dict)  # for the disturbed run alone
    beside: list[tuple[str, Run]] = field(default_factory=list)  # other commands that were started meanwhile
    detail: str = ""  # what exactly was done, for the reader of a failure

    @property
    def alive(self) -> bool:
        return self.run is not None and self.run.poll() is None

    def processes(self, target: str) -> list[psutil.Process]:
        """Processes of one kind: "parent", "worker", "fork_server" or "all" of them; none where there is none now."""
        if self.run is None or not self.alive:
            return []
        with contextlib.suppress(psutil.Error):
            if target == "parent":
                return [psutil.Process(self.run.pid)]
            if target == "worker":
                return self.run.workers()
            if target == "fork_server":
                server = self.run.fork_server()
                return [server] if server else []
            return [psutil.Process(self.run.pid), *self.run.others()]
        return []

    def one_of(self, target: str) -> psutil.Process | None:
        """One process of a kind, by the dice."""
        found = self.processes(target)
        return self.rng.choice(found) if found else None

    def records(self) -> int:
        """How many records are in the folder now."""
        return len(whole_lines(self.folder))


Inject = Callable[[Scene], bool]  # False: what it wanted to disturb is not there now


@dataclass(frozen=True)
class Kind:
    """One way to disturb a run."""

    inject: Inject
    prepare: Callable[[Scene], None] | None = None  # before the run starts
    at_rest: bool = False  # True: done to a finished folder, with no run under way
    endings: frozenset[int] = ENDINGS  # exit codes that the disturbed run may have
    keeps: bool = True  # what was recorded before must still be there afterwards
    cold: bool | None = None  # None: by the dice
    linux: bool = False  # needs prlimit
    mounts: bool = False  # needs to mount a file system, which takes root
    others_allowed: bool = False  # records that nobody planned may be in the folder
    wait: float = field(default=0.0)  # seconds to wait at most for what it wants to disturb, on top of the moment


def sleep_within(scene: Scene, seconds: float) -> None:
    """Wait, but no longer than the run lasts."""
    deadline = time.monotonic() + seconds
    while scene.alive and time.monotonic() < deadline:
        time.sleep(0.01)


def mount(*arguments: str) -> None:
    """mount(8). Raises CalledProcessError."""
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    """umount(8); a folder that is busy goes as soon as it is free."""
    for options in ([], ["-l"]):
        if subprocess.run(["umount", *options, str(folder)], capture_output=True).returncode == 0:
            return


def can_mount() -> bool:
    """Whether this process may mount a file system."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            mount("-t", "tmpfs", "-o", "size=1m", "none", folder)
        except (subprocess.CalledProcessError, FileNotFoundError):
            return False
        unmount(Path(folder))
    return True
