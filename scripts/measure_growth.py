"""What a trial costs the coordinator and the scheduler with more and more workers, which run nothing themselves.

    python scripts/measure_growth.py 10 100 1000

Prints a row a number of workers: groups a second that go through, milliseconds a group, and how many workers that
keeps at work when a lane group takes them a second, ten seconds or a minute. Records are written and synced as in
a run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from optbench.core.trial import Trial
from optbench.execution.executor import execute
from optbench.execution.options import RunOptions
from optbench.execution.task import LaneGroup
from optbench.records.store import Store
from optbench.registry.catalog import Catalog

A_PROCESS = 250  # simulated workers


def grown(workers: int, groups: int, lanes: int) -> tuple[float, float]:
    """(seconds, processor seconds of the coordinator) for so many lane groups through so many simulated workers."""
    from optbench.execution.cluster.executor import ClusterExecutor  # needs the extra `cluster`; --help does not
    from optbench.execution.cluster.local import LocalCluster
    from optbench.execution.cluster.session import Session
    from optbench.execution.cluster.setup import Setup

    folder = Path(tempfile.mkdtemp(prefix="optbench-growth-"))
    cluster = LocalCluster(0, "cpu", 0)
    processes = []
    try:
        for first in range(0, workers, A_PROCESS):
            command = [sys.executable, str(Path(__file__).with_name("simulated_workers.py")), str(cluster.place.path)]
            processes.append(subprocess.Popen([*command, str(min(A_PROCESS, workers - first))]))
        options = RunOptions(cluster=str(cluster.place.path), cluster_wait=300)
        session = Session(str(cluster.place.path), 300, "cpu", print)
        session.prepare(Setup("growth", options), ())
        until = time.monotonic() + 900
        while len(session.machines.workers) < workers:
            session.next_event(1.0)
            if time.monotonic() > until:
                raise SystemExit(f"{len(session.machines.workers)} of {workers} workers are ready")
        planned = [
            LaneGroup(tuple(Trial("sphere_2d", "adam", (), lanes * number + lane, 5.0) for lane in range(lanes)))
            for number in range(groups)
        ]
        own, began = psutil.Process().cpu_times(), time.monotonic()
        with Store(folder / "out") as store:
            for outcome in execute(ClusterExecutor(session, Catalog(), options), planned):
                for record in outcome.records:
                    store.append(record)
        took, after = time.monotonic() - began, psutil.Process().cpu_times()
        session.close()
        return took, after.user + after.system - own.user - own.system
    finally:
        for process in processes:
            process.kill()
            process.wait()
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workers", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--groups", type=int, default=2000)
    parser.add_argument("--lanes", type=int, default=1)
    options = parser.parse_args()
    print("| workers | groups | groups/s | ms a group | coordinator's processor ms | kept at work: 1 s | 10 s | 60 s |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for workers in options.workers:
        took, used = grown(workers, options.groups, options.lanes)
        rate = options.groups / took
        kept = " | ".join(f"{min(workers, rate * seconds):.0f}" for seconds in (1, 10, 60))
        each = f"{1000 / rate:.1f} | {1000 * used / options.groups:.1f}"
        print(f"| {workers} | {options.groups} | {rate:.0f} | {each} | {kept} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
