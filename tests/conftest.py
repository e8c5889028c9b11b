"""How the tests run: in parallel workers of one thread each; a test leaves torch's number of threads as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy and torch are imported; a number that the user set is kept
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

MAX_WORKERS = 8  # each holds torch and data, about 1 GiB


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker a core that this process may use; none for benchmarks, which need the machine for themselves.

    None leaves the choice to pytest-xdist, where its PYTEST_XDIST_AUTO_NUM_WORKERS is set.
    """
    if config.getoption("benchmark_only"):
        return 0
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a test that is marked `one_thread` one thread of torch; put the number back after every test."""
    before = torch.get_num_threads()
    if request.node.get_closest_marker("one_thread"):
        torch.set_num_threads(1)
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
