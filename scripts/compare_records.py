"""Compare two result folders record by record: every deterministic field must be the same to the last bit.

    python scripts/compare_records.py results/before results/after

Run both sides with the same `--lanes N`: the width that `--lanes auto` takes depends on the machine's speed, and a
wider group may round differently. Exit code 0 when every trial is on both sides and agrees, else 1.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from optbench.records.schema import lines

CLOCKS = {"seconds", "warmup_seconds", "wall_seconds", "own_seconds"}
CLOCKS |= {"samples_per_second", "peak_bytes", "utilisation", "joules"}
CLOCKS |= {"state_bytes"}  # where memory is used again, a tensor cannot be told from the one before it
SOURCES = {"fingerprint", "machine"}  # changes with every line of source, and is meant to; and where it ran
MAX_PRINTED = 20  # trials that differ


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """{key: the record as plain data} of a result folder, packed or not."""
    found = (json.loads(line) for line in lines(folder))
    return {record["key"]: record for record in found}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The deterministic fields in which two records of one trial differ; a curve point is named by its place."""
    names = (before.keys() | after.keys()) - CLOCKS - SOURCES - {"curve"}
    found = [
        f"{name}: {before.get(name)!r}, then {after.get(name)!r}"
        for name in sorted(names)
        if _differ(before, after, name)
    ]
    one, two = before["curve"], after["curve"]
    if len(one) != len(two):
        return [*found, f"curve: {len(one)} points, then {len(two)}"]
    for place, (left, right) in enumerate(zip(one, two, strict=True)):
        names = (left.keys() | right.keys()) - CLOCKS
        found += [
            f"curve[{place}].{name}: {left.get(name)!r}, then {right.get(name)!r}"
            for name in sorted(names)
            if _differ(left, right, name)
        ]
    return found


def _differ(one: dict[str, Any], two: dict[str, Any], name: str) -> bool:
    a, b = one.get(name), two.get(name)
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return not both_nan and a != b


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    before, after = records(given.before), records(given.after)
    common = [key for key in before if key in after]
    wrong = {key: found for key in common if (found := differences(before[key], after[key]))}
    for key, found in list(wrong.items())[:MAX_PRINTED]:
        record = before[key]
        print(f"{record['problem']} x {record['optimizer']}{record['hyper'] or ''}, seed {record['seed']}: {found[0]}")
        for text in found[1:3]:
            print(f"    {text}")
    if len(wrong) > MAX_PRINTED:
        print(f"and {len(wrong) - MAX_PRINTED} more")
    one_sided = len(before.keys() ^ after.keys())
    equal = len(common) - len(wrong)
    print(f"{len(common)} common trials: {equal} equal, {len(wrong)} differ; {one_sided} on one side only")
    return int(bool(wrong or one_sided or not common))


if __name__ == "__main__":
    raise SystemExit(main())
