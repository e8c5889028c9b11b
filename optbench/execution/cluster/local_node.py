"""A scheduler or workers of dask on this machine that end with the run that started them.

python -m optbench.execution.cluster.local_node PARENT scheduler|worker ARGUMENTS OF DASK
"""

from __future__ import annotations

import os
import sys
import threading
import time

import psutil


def main() -> None:
    parent, role, *arguments = sys.argv[1:]
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    sys.argv = [f"dask {role}", *arguments]
    if role == "scheduler":
        from distributed.cli.dask_scheduler import main as run
    else:
        from distributed.cli.dask_worker import main as run
    run()


def _end_with(parent: int) -> None:
    while psutil.pid_exists(parent):
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
