"""A scheduler and workers as processes of their own, shared by the tests of this folder that need some."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest


class Nodes:
    """A scheduler and workers as `dask scheduler` and `dask worker` start them; any may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self._folder = folder
        self._all: list[subprocess.Popen] = []

    def scheduler(self, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen:
        self.file.unlink(missing_ok=True)
        given = arguments or ("--host", "127.0.0.1", "--port", "0")
        return self._start("scheduler", "--scheduler-file", str(self.file), *given, prefix=prefix)

    def worker(self, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> subprocess.Popen:
        given = (*arguments, "--local-directory", str(self._folder), "--nthreads", "1")
        return self._start("worker", "--scheduler-file", str(self.file), *given, prefix=prefix, **environment)

    def close(self) -> None:
        for process in self._all:
            end(process.pid)
            process.wait()

    def _start(self, role: str, *arguments: str, prefix: Sequence[str] = (), **environment: str) -> subprocess.Popen:
        command = [*prefix, sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, "--no-dashboard"]
        with (self._folder / f"{role}.log").open("ab") as log:
            own = {"OMP_NUM_THREADS": "1", **environment}
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **own})
        self._all.append(process)
        return process


def end(pid: int) -> None:
    """Kill a process and all below it."""
    try:
        whole = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for process in whole:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    made = Nodes(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The scheduler file of a cluster of two workers, which all tests share that leave it as it was."""
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    made = Nodes(tmp_path_factory.mktemp("cluster"))
    made.scheduler()
    made.worker()
    made.worker()
    until = time.monotonic() + 60
    while not made.file.exists() and time.monotonic() < until:
        time.sleep(0.1)
    yield str(made.file)
    made.close()
