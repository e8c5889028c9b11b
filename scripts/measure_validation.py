"""Write problems/validation.py: where validation losses begin, and the lowest that any trial has reached.

    python scripts/measure_validation.py RESULTS...

Both are fixed there, so that a target on validation never depends on who takes part in a run. A problem keeps a lower
value that the file has already, unless `--anew` is given: that is for problems whose data have changed.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optbench.core.problem import measured_start
from optbench.problems import PROBLEMS
from optbench.problems.validation import LOWEST
from optbench.registry.catalog import Catalog

OUT = Path(__file__).parents[1] / "problems" / "validation.py"
HEAD = OUT.read_text(encoding="utf-8").partition("LOWEST = {")[0]


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of a result folder, packed or not."""
    packed = folder / "records.jsonl.xz"
    with lzma.open(packed, "rt") if packed.exists() else (folder / "records.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def lowest(folders: list[str]) -> dict[str, float]:
    """{problem: the lowest validation loss at any point of any curve}, of the problems that are in the table."""
    found: dict[str, float] = {}
    for folder in folders:
        for record in records(Path(folder)):
            losses = [point.get("valid_loss") for point in record["curve"]]
            finite = [loss for loss in losses if loss is not None]
            if finite and record["problem"] in PROBLEMS:
                found[record["problem"]] = min(min(finite), found.get(record["problem"], finite[0]))
    return found


def table(found: dict[str, float]) -> str:
    """The dictionary as the lines of the file."""
    catalog = Catalog()
    starts = {name: measured_start(catalog.problem(name), "valid") for name in found}
    rows = [f'    "{name}": ({starts[name]:.6g}, {found[name]:.6g}),' for name in PROBLEMS if name in found]
    return "\n".join(["LOWEST = {", *rows, "}", ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", help="result folders")
    parser.add_argument("--anew", nargs="*", default=[], help="problems whose stated value is forgotten")
    given = parser.parse_args()
    found = lowest(given.folder)
    for name, (_, value) in LOWEST.items():
        if name not in given.anew:
            found[name] = min(value, found.get(name, value))
    OUT.write_text(HEAD + table(found), encoding="utf-8")
