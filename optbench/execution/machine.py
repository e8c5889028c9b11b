"""The machine: what it is, what it can do, how much memory a trial takes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import torch

from optbench.core.trial import RequestError

VERSION = importlib.metadata.version("optbench")  # stated once, in pyproject.toml
PACKAGES = ("torch", "numpy", "scipy", "pandas", "pyswarms", "seaborn")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, accelerator and system, as plain data."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
        "os": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Python and the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def device(name: str) -> str:
    """ "cpu" or "cuda" for what the user asked. Raises RequestError where there is no GPU."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise RequestError("--device cuda: torch sees no GPU here; use --device cpu or auto")
    return name


def own_cores() -> list[int]:
    """One logical processor of every core that this process may use. Raises RequestError where none can be chosen.

    Where the system does not say which of them share a core, neighbours are taken to.
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        raise RequestError("--pinned: this system lets no process choose its core; leave it out")
    logical = psutil.cpu_count() or 1
    each = max(1, logical // (psutil.cpu_count(logical=False) or logical))  # logical processors a core
    cores: dict[str, int] = {}
    for number in process.cpu_affinity():
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text().strip() if siblings.is_file() else str(number // each), number)
    return sorted(cores.values())


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Meanwhile torch computes with so many threads in this process; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ceiling(device: str, size: int = 1024, repeats: int = 5) -> float:
    """FLOP/s of the best of a few float32 matrix products on this process's threads: what throughput is a share of."""
    a = torch.randn(size, size, device=device)
    best = float("inf")
    for _ in range(repeats + 1):  # the first one warms up
        began = perf_counter()
        a @ a
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, perf_counter() - began)
    return 2 * size**3 / best


class PeakMemory:
    """Bytes that a trial took above what was in use when this was made: resident on a CPU, allocated on a GPU."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
            return
        clear = Path("/proc/self/clear_refs")
        if clear.exists():
            with contextlib.suppress(PermissionError):  # refused: the mark is the process's own, an upper bound
                clear.write_text("5")  # Linux: start the high-water mark again from here
        self._before = psutil.Process().memory_info().rss

    def peak(self) -> int:
        now = torch.cuda.max_memory_allocated() if self._cuda else _high_water()
        return max(0, now - self._before)


def _high_water() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows has no such module; there psutil knows the peak
        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


class GpuMeter:
    """Mean utilisation (0 to 1) and energy (joules) of the GPU from now to `stop`; nothing without one to ask."""

    def __init__(self, device: str) -> None:
        self._handle: Any = None
        self._seen: list[float] = []
        if device != "cuda":
            return
        with contextlib.suppress(Exception):  # no NVIDIA library, or a card that does not tell
            import pynvml

            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
            self._before = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self._seen.append(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100)

    def stop(self) -> tuple[float | None, float | None]:
        if self._handle is None or not hasattr(self, "_thread"):
            return None, None
        self._stop.set()
        self._thread.join()
        joules = (self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._before) / 1000
        return (sum(self._seen) / len(self._seen) if self._seen else None), joules
