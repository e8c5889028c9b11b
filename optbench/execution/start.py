"""How worker processes start: from a fork server where there is one, and never by running the user's script again.

A process that multiprocessing starts imports the script that started it, as `__mp_main__`. A script that calls
`optbench.run` without `if __name__ == "__main__"` would run itself again in every worker. Workers need nothing of it:
they are sent pure data. So the script is left out of what they are told. Standard library only: a fork server can be
started before anything heavy is imported here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import spawn
from typing import Any

# The FLOP counter and torch's optimizers import torch._dynamo at their first use, scipy's methods scipy.optimize: a
# second and a third of one a worker, were they not there.
PRELOADED = ("optbench.execution.worker", "torch._dynamo", "torch.fx.experimental.proxy_tensor", "scipy.optimize")
PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between tries to reach a fork server that is being killed
TORCH_CACHE = "TORCHINDUCTOR_CACHE_DIR"  # the folder that torch._dynamo makes as it is imported
_START_LOCK = threading.Lock()


@contextlib.contextmanager
def _script_left_out() -> Iterator[None]:
    """Meanwhile a process that this thread starts is not told of the script that runs here."""
    with _START_LOCK:
        usual, own = spawn.get_preparation_data, threading.get_ident()

        def prepared(name: str) -> dict[str, Any]:
            data: dict[str, Any] = usual(name)
            if threading.get_ident() == own:
                data.pop("init_main_from_path", None)
                data.pop("init_main_from_name", None)
            return data

        spawn.get_preparation_data = prepared
        try:
            yield
        finally:
            spawn.get_preparation_data = usual


class SpawnedWorker(multiprocessing.get_context("spawn").Process):  # type: ignore[misc]
    """A worker process from a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        with _script_left_out():
            return multiprocessing.get_context("spawn").Process._Popen(process_obj)


def has_fork_server() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()


if has_fork_server():

    class ForkedWorker(multiprocessing.get_context("forkserver").Process):  # type: ignore[misc]
        """A worker process from the fork server."""

        @staticmethod
        def _Popen(process_obj: Any) -> Any:
            with _script_left_out():
                return multiprocessing.get_context("forkserver").Process._Popen(process_obj)


class _Context:
    """A multiprocessing context whose processes are our workers."""

    def __init__(self, method: str, process: Any) -> None:
        self._base, self.Process = multiprocessing.get_context(method), process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)


def worker_context() -> Any:
    """The multiprocessing context to start workers in; where there is a fork server it is running from now on."""
    if not has_fork_server():
        return _Context("spawn", SpawnedWorker)
    start_fork_server()
    return _Context("forkserver", ForkedWorker)


def usable_torch_cache() -> str:
    """Name torch another folder where it cannot make the one that is named, for then it does not load.

    Nothing of optbench is kept there. Returns what to say, or nothing.
    """
    named = os.environ.get(TORCH_CACHE)
    if not named:
        return ""
    try:
        os.makedirs(named, exist_ok=True)
        return ""
    except OSError as error:
        os.environ[TORCH_CACHE] = os.path.join(tempfile.gettempdir(), f"torchinductor_{os.getpid()}")
        return f"{TORCH_CACHE}={named} cannot be made ({error.strerror}); torch uses {os.environ[TORCH_CACHE]}"


def start_process(target: Callable[..., None], arguments: Sequence[Any]) -> Any:
    """A child process that is under way; it ends with this one.

    A fork server that was killed a moment ago is waited for and started again. Raises OSError or RuntimeError.
    """
    for patience in (*PATIENCE, 0.0):
        process = worker_context().Process(target=target, args=tuple(arguments), daemon=True)
        try:
            process.start()
            return process
        except ConnectionError:
            if not patience:
                raise
            time.sleep(patience)
    raise AssertionError("the last try returns or raises")


def start_fork_server() -> None:
    """Start the process that starts workers, so that it imports while this process goes on. Nothing where it runs.

    It ignores Ctrl-C and prints nothing: this process ends its workers itself and says so in one line.
    """
    if not has_fork_server():
        return
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # the fork server needs it, and starting it would let interrupts through again
    with _interrupts_blocked(), _errors_hidden():
        forkserver.ensure_running()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Meanwhile Ctrl-C waits, and a process that is started ignores it; nothing where there are no signal masks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _errors_hidden() -> Iterator[None]:
    """Meanwhile a process that is started writes its errors nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
