"""Pack a result folder for keeping: its report, and its records at a tenth of their size.

    python scripts/pack_results.py results/standard results/reference

Numbers of curves are rounded to the digits that single precision has, seconds to four, and the plan is left out, for
every trial has its record. `python -m optbench report results/reference` makes the report again, here and anywhere.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
from pathlib import Path

from optbench.records.files import ENVIRONMENT, SUITE, read_environment, read_records
from optbench.records.schema import RECORDS, Record
from optbench.report import write

DIGITS, SECONDS = 8, 4
LARGE = ("*.parquet", "trials.csv", "*.pdf", "*.svg")  # written anew by `report`


def pack(folder: Path, out: Path) -> None:
    """Write the packed folder and its report."""
    records, wrong = read_records(folder)
    facts = read_environment(folder)
    planned = {trial["key"] for trial in facts.pop("plan")}
    if wrong or planned != {record.key for record in records}:
        sys.exit(f"{folder} is not whole: {len(records)} records of {len(planned)} planned, {len(wrong)} broken lines")
    out.mkdir(parents=True, exist_ok=True)
    with lzma.open(out / f"{RECORDS}.xz", "wt", encoding="utf-8", preset=9) as file:
        file.writelines(_rounded(record).line() + "\n" for record in records)
    (out / ENVIRONMENT).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.copy(folder / SUITE, out / SUITE)
    write([out])
    for pattern in LARGE:
        for path in out.rglob(pattern):
            path.unlink()


def _rounded(record: Record) -> Record:
    record.curve = [
        {name: float(f"{value:.{SECONDS if name == 'seconds' else DIGITS}g}") for name, value in point.items()}
        for point in record.curve
    ]
    return record


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
