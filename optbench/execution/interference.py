"""How much trials on cores of their own disturb each other: one fixed piece of work, alone and on all cores at once."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from time import perf_counter

import psutil
import torch
from torch import nn

from optbench.execution.start import start_process

STEPS, ROUNDS = 20, 5  # of the work, and how often it is timed; a twentieth of a second each
MAX_SECONDS = 30.0  # that the whole may take


def interference(cores: Sequence[int]) -> float | None:
    """Seconds of the work with a process on each of these logical processors at it, over those of one by itself.

    Medians. None where the processes do not answer in time, which takes nothing from what the run finds out.
    """
    links: list[Connection] = []
    processes = []
    until = perf_counter() + MAX_SECONDS
    try:
        for core in cores:
            mine, theirs = Pipe()
            links.append(mine)
            processes.append(start_process(_serve, (theirs, core, os.getpid())))
            theirs.close()
        _asked(links, until)  # warm
        alone = [took for _ in range(ROUNDS) for took in _asked(links[:1], until)]
        together = [took for _ in range(ROUNDS) for took in _asked(links, until)]
        return statistics.median(together) / statistics.median(alone)
    except (OSError, EOFError, RuntimeError):
        return None
    finally:
        for link in links:
            link.close()
        for process in processes:
            process.kill()
            process.join()


def _asked(links: Sequence[Connection], until: float) -> list[float]:
    """Seconds that each needed, all begun at once. Raises OSError where one is silent."""
    for link in links:
        link.send_bytes(b"go")
    found = []
    for link in links:  # each has measured by itself, so it does not matter who is heard first
        if not link.poll(max(0.0, until - perf_counter())):
            raise TimeoutError("a process that measures is silent")
        found.append(float(link.recv_bytes()))
    return found


def _serve(link: Connection, core: int, parent: int) -> None:
    """Time the work each time that it is asked for, until the run closes the link or is gone."""
    psutil.Process().cpu_affinity([core])
    torch.set_num_threads(1)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    x, memory = torch.rand(1024, 64), torch.zeros(2**21)  # 8 MiB: what one core's own cache does not hold
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    while psutil.pid_exists(parent):
        try:
            link.recv_bytes()
        except (OSError, EOFError):
            return
        began = perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
            memory.add_(1.0)
        link.send_bytes(repr(perf_counter() - began).encode())
