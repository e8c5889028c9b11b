"""What a report costs as records grow: seconds of processor time, peak memory and the size of the page.

    python scripts/measure_report.py 1000 10000 100000

The records are those of results/reference: the first so many, and copies under further seeds beyond them. Each report
is made by a command of its own. Prints a row of a Markdown table for each. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from optbench.records.files import ENVIRONMENT, SUITE
from optbench.records.schema import RECORDS, lines

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


def records(count: int) -> Iterator[str]:
    """Stored lines of the reference, and copies of them with other seeds, until there are `count`."""
    made = 0
    for copy in range(10**6):
        for line in lines(REFERENCE):
            if made == count:
                return
            record = json.loads(line)
            record["key"] += f"-{copy}" if copy else ""
            record["seed"] += 1000 * copy
            made += 1
            yield json.dumps(record, separators=(",", ":")) + "\n"


def measured(count: int) -> str:
    """A row: records, processor seconds, wall seconds, MB of memory, MB of the page and of the records."""
    folder = Path(tempfile.mkdtemp(prefix="optbench-report-"))
    try:
        with (folder / RECORDS).open("w", encoding="utf-8") as file:
            file.writelines(records(count))
        for name in (ENVIRONMENT, SUITE):
            shutil.copy(REFERENCE / name, folder / name)
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-m", "optbench", "report", str(folder)], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        if status:
            sys.exit(f"the report of {count} records failed")
        memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
        page, stored = ((folder / name).stat().st_size / 1e6 for name in ("report.html", RECORDS))
        cpu = used.ru_utime + used.ru_stime
        return f"| {count:,} | {cpu:.1f} | {wall:.1f} | {memory:.0f} | {page:.2f} | {stored:.0f} |"
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="+", metavar="RECORDS")
    print("| records | processor s | wall s | memory MB | page MB | records MB |")
    print("|---:|---:|---:|---:|---:|---:|")
    for given in parser.parse_args().counts:
        print(measured(given), flush=True)
