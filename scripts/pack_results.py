"""Pack a results folder for keeping: its records at a tenth of their size, and the pictures of the README.

    python scripts/pack_results.py results/standard results/reference

Numbers of curves are rounded to the digits that single precision has, seconds to four digits. The plan is left out,
because every trial has its record. Everything else is made again by `python -m optbench report results/reference`.
"""

from __future__ import annotations

import argparse
import json
import lzma
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from headline_table import headline

from optbench.records.files import ENVIRONMENT, SUITE, read_environment, read_records
from optbench.records.schema import RECORDS, Record
from optbench.report import write

DIGITS, SECONDS_DIGITS = 8, 4
PICTURES = ("scores.png", "summary.png", "ranks.png")  # what README.md shows


def pack(folder: Path, out: Path) -> None:
    """Write the packed folder, its headline table and the pictures."""
    records, wrong = read_records(folder)
    facts = read_environment(folder)
    planned = {trial["key"] for trial in facts.pop("plan")}
    if wrong or planned != {record.key for record in records}:
        sys.exit(
            f"{folder} is not complete: {len(records)} records of {len(planned)} planned, {len(wrong)} broken lines"
        )
    out.mkdir(parents=True, exist_ok=True)
    with lzma.open(out / f"{RECORDS}.xz", "wt", encoding="utf-8", preset=9) as file:
        file.writelines(_rounded(record).line() + "\n" for record in records)
    (out / ENVIRONMENT).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    shutil.copy(folder / SUITE, out / SUITE)
    headline(out).to_csv(out / "headline.csv", index=False, float_format="%.6g", lineterminator="\n")
    (out / "figures").mkdir(exist_ok=True)
    with TemporaryDirectory() as scratch:
        write([out], Path(scratch))
        for name in PICTURES:
            drawn = Path(scratch) / "figures" / name  # few optimizers or problems have no diagram of ranks
            if drawn.exists():
                shutil.copy(drawn, out / "figures" / name)


def _rounded(record: Record) -> Record:
    record.curve = [
        {name: float(f"{value:.{SECONDS_DIGITS if name == 'seconds' else DIGITS}g}") for name, value in point.items()}
        for point in record.curve
    ]
    return record


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a complete results folder")
    parser.add_argument("out", type=Path, help="where the packed folder goes")
    given = parser.parse_args()
    pack(given.folder, given.out)
