"""What the records of a run say, whatever its clock said."""

from __future__ import annotations

from pathlib import Path

from optbench.records.files import read_records

# The clock, and own work: where lines of search differ by lane it is shared among them.
UNCOMPARED = {"seconds": 0.0, "own_flops": 0.0}


def results(folder: Path) -> dict[str, tuple]:
    """By key of a trial: status, counts and curve of its record without the clock. No line is wrong or double."""
    records, wrong = read_records(folder)
    assert not wrong and len({record.key for record in records}) == len(records)
    return {r.key: (r.status, r.forward, r.backward, [{**point, **UNCOMPARED} for point in r.curve]) for r in records}
