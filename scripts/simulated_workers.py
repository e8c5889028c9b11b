"""Workers of dask that run nothing: many in one process, each of which answers at once for every lane group.

    python scripts/simulated_workers.py SCHEDULER_FILE COUNT

For `scripts/measure_growth.py`: what is left is what distributing costs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import pickle
import tempfile
from typing import Any

from optbench.execution.task import LaneGroup
from optbench.records.schema import Record

SECONDS = 1.0  # that a group is said to have taken
FACTS = {"machine": {"cpu": "simulated", "cores": 1}, "versions": {}, "ceiling": 1.0}


async def open_run(run: str, setup: dict[str, Any], token: str, slots: int, dask_worker: Any = None) -> dict[str, Any]:
    await dask_worker.set_resources(**{token: slots})
    return {"facts": FACTS, "under_way": {}, "answers": []}


async def forget(run: str, names: list[str]) -> None:
    """Nothing was kept."""


async def close_run(run: str, token: str, dask_worker: Any = None) -> None:
    """Nothing was started."""


def run_groups(run: str, groups: list[tuple[str, bytes]], seconds: float) -> list[dict[str, Any]]:
    """Records of groups that are said to have taken long enough to travel one by one."""
    from distributed import get_worker

    worker = get_worker()
    here = {"worker": worker.address, "life": worker.address}
    found = []
    for name, group in groups:
        worker.log_event(f"optbench-{run}", {"kind": "began", "id": name, **here})
        trials: LaneGroup = pickle.loads(group)
        lines = []
        for one in trials.trials:
            what = one.key, one.problem, one.optimizer, dict(one.hyper), one.seed, one.passes, one.device
            curve = [{"passes": float(k), "loss": 1.0 / (k + 1)} for k in range(30)]
            lines.append(Record(*what, "spent", curve=curve).line())
        worker.log_event(f"optbench-{run}", {"kind": "ended", "id": name, **here})
        found.append({"id": name, "lines": lines, "seconds": SECONDS, "full": False, **here})
    return found


async def main(file: str, count: int) -> None:
    from distributed import Worker  # needs the extra `cluster`; --help does not

    from optbench.execution.cluster import station

    station.open_run, station.forget, station.close_run = open_run, forget, close_run
    station.run_groups = run_groups
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as scratch:
        common = {"scheduler_file": file, "nthreads": 1, "local_directory": scratch, "dashboard": False}
        workers = [Worker(**common, memory_limit=0, host="127.0.0.1") for _ in range(count)]
        for first in range(0, count, 50):
            await asyncio.gather(*workers[first : first + 50])
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the scheduler's file")
    parser.add_argument("count", type=int, help="workers")
    given = parser.parse_args()
    asyncio.run(main(given.file, given.count))
