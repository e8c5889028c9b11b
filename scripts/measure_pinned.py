"""What `--pinned` costs in truth: seconds of trials on cores of their own against those of trials alone.

    python scripts/measure_pinned.py --rounds 3

Both ways in turns, so that what else the machine does touches both. Prints a row a problem: the median over optimizers
and rounds of the ratio of seconds, its range, and how often two optimizers change places.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from compare_records import records

PROBLEMS = ("mlp_iris", "mlp_digits", "cnn_digits", "rastrigin")
OPTIMIZERS = ("sgd", "adam", "lbfgs", "pso")


def seconds(folder: Path) -> dict[tuple[str, str], float]:
    found = records(folder).values()
    return {(one["problem"], one["optimizer"]): one["seconds"] for one in found if one["alone"] and one["seconds"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=float, default=20.0)
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {name: [] for name in PROBLEMS}
    swapped = pairs = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.rounds):
            clocks = {}
            for way, more in (("one", []), ("pinned", ["--pinned"])):
                out = Path(scratch) / f"{way}{number}"
                command = [sys.executable, "-m", "optbench", "run", "--seeds", "1", "--passes", str(options.passes)]
                command += [text for name in PROBLEMS for text in ("--problem", name)]
                command += [text for name in OPTIMIZERS for text in ("--optimizer", name)]
                subprocess.run([*command, *more, "--out", str(out), "-q"], check=True, capture_output=True)
                clocks[way] = seconds(out)
            for cell in clocks["one"].keys() & clocks["pinned"].keys():
                ratios[cell[0]].append(clocks["pinned"][cell] / clocks["one"][cell])
            for problem in PROBLEMS:
                for a, b in itertools.combinations(OPTIMIZERS, 2):
                    both = [clocks[way].get((problem, one)) for way in ("one", "pinned") for one in (a, b)]
                    if None not in both:
                        pairs += 1
                        swapped += (both[0] < both[1]) != (both[2] < both[3])
    print("| problem | pinned to alone | from | to |\n|---|--:|--:|--:|")
    for problem, found in ratios.items():
        if found:
            print(f"| {problem} | {statistics.median(found):.2f} | {min(found):.2f} | {max(found):.2f} |")
    print(f"{swapped} of {pairs} pairs of optimizers change places")
    return 0


if __name__ == "__main__":
    sys.exit(main())
