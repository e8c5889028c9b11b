"""`--cluster local:N`: a scheduler and workers on this machine, as processes of their own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from optbench.core.trial import RequestError
from optbench.execution.cluster.place import SchedulerFile


class LocalCluster:
    """Started when it is made, ended by `close`. What it prints is in `log`, for the line that says why it failed."""

    def __init__(self, count: int | None, device: str, gpus: int) -> None:
        """count: workers, none for 0; None: one a GPU of this machine's `gpus` or, for device "cpu", one a core."""
        on_gpu = device != "cpu" and gpus > 0
        self._count = count or (gpus if on_gpu else os.cpu_count() or 1)
        self._folder = Path(tempfile.mkdtemp(prefix="optbench-dask-"))
        self.place = SchedulerFile(self._folder / "scheduler.json")
        self._processes: list[subprocess.Popen[bytes]] = []
        file = str(self.place.path)
        try:
            self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
            common = ("--scheduler-file", file, "--host", "127.0.0.1", "--nthreads", "1", "--death-timeout", "120")
            if count == 0:
                return  # whoever made this starts workers
            if not on_gpu:
                self._start("worker", *common, "--nworkers", str(self._count))
            elif importlib.util.find_spec("dask_cuda") and self._count == gpus:
                self._spawn([sys.executable, "-m", "dask_cuda.cli", "worker", "--scheduler-file", file])
            else:
                for number in range(self._count):
                    self._start("worker", *common, CUDA_VISIBLE_DEVICES=_shown(number % gpus))
        except OSError as error:
            self.close()
            raise RequestError(f"--cluster local: no process can be started: {error.strerror}") from None

    def close(self) -> None:
        """End every process and remove their files."""
        for process in self._processes:  # at once: dask's workers take long to part with their scheduler
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def why(self) -> str:
        """The last line that a process printed which has ended, if one has."""
        for process in self._processes:
            if process.poll() is not None:
                lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
                return lines[-1] if lines else f"a process ended with code {process.returncode}"
        return ""

    def _start(self, role: str, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "optbench.execution.cluster.local_node", str(os.getpid()), role]
        scratch = ("--local-directory", str(self._folder)) if role == "worker" else ()
        self._spawn([*command, *arguments, "--no-dashboard", *scratch], **environment)

    def _spawn(self, command: list[str], **environment: str) -> None:
        """Out of reach of a Ctrl-C in the terminal: the run ends it itself."""
        own = {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error", **environment}
        with (self._folder / "log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **own},
                    start_new_session=os.name == "posix",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            )


def _shown(number: int) -> str:
    """The name of one GPU among those that this process is shown."""
    shown = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return shown[number] if number < len(shown) else str(number)
