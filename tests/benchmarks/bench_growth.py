"""How time and memory of a whole run grow: with trials, lanes, samples, parameters and records.

    python tests/benchmarks/bench_growth.py                 # up to 10,000 trials, some minutes
    python tests/benchmarks/bench_growth.py trials --large  # up to 100,000

Every row is one command as a user types it. Processor seconds are those of all its processes, by the phases of
`bench_whole`; memory is the most that the processes held together, shared pages counted in each. Trials are of an
optimizer that evaluates once, so that what is measured is what a trial costs beside its training.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

HERE = Path(__file__).parent
PLUGIN = HERE / "grown.py"
STEPS = 300

Row = tuple[str, list[str]]  # what is varied, and the command's words


def rows(large: bool) -> dict[str, list[Row]]:
    """The commands of every table."""
    noop = ["--problem", "sphere_2d", "--optimizer", "noop", "--passes", "1", "--timing", "none"]
    adam = ["--optimizer", "adam[lr=0.001]", "--steps", str(STEPS), "--timing", "none", "--workers", "1"]
    counts = (10, 100, 1000, 10_000, *((100_000,) if large else ()))
    return {
        "trials": [(f"{count:,} trials", [*noop, "--seeds", str(count)]) for count in counts],
        "lanes": [
            (f"{n} lanes", ["--problem", "mlp_digits", *adam, "--seeds", str(n), "--lanes", str(n)])
            for n in (1, 8, 32, 128)
        ],
        "samples": [
            (f"{n:,} samples", ["--problem", f"grown[samples={n}]", *adam, "--seeds", "2", "--lanes", "2"])
            for n in (1000, 10_000, 100_000, *((1_000_000,) if large else ()))
        ],
        "parameters": [
            (f"{66 * n + 1:,} parameters", ["--problem", f"grown[hidden={n}]", *adam, "--seeds", "2", "--lanes", "2"])
            for n in (16, 160, 1600, *((16_000,) if large else ()))
        ],
    }


def measured(words: list[str]) -> dict[str, float]:
    """{phase: processor seconds}, "wall", "memory" in bytes and "disk", of one command and its report."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        phases, out = Path(scratch) / "phases", Path(scratch) / "out"
        phases.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(HERE / "phases"), "OPTBENCH_PHASES": str(phases)}
        line = [sys.executable, "-m", "optbench", "run", *words, "--plugin", str(PLUGIN), "--out", str(out), "-q"]
        began, most, over = time.perf_counter(), 0, threading.Event()
        running = subprocess.Popen(
            line, env=environment, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        def watch() -> None:
            nonlocal most
            process = psutil.Process(running.pid)
            while not over.wait(0.1):
                held = 0
                with suppress(psutil.Error):
                    for one in [process, *process.children(recursive=True)]:
                        held += one.memory_info().rss
                most = max(most, held)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        _, said = running.communicate()
        over.set()
        watcher.join()
        if running.returncode:
            raise SystemExit(f"{' '.join(line)}: {said.decode()}")
        found: dict[str, float] = {}
        for file in phases.glob("*.json"):
            for phase, seconds in json.loads(file.read_text(encoding="utf-8")).items():
                found[phase] = found.get(phase, 0.0) + seconds
        disk = (out / "records.jsonl").stat().st_size
        return {**found, "wall": time.perf_counter() - began, "memory": most, "disk": disk}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = rows(True)
    parser.add_argument("tables", nargs="*", choices=[*known, []], default=[])
    parser.add_argument("--large", action="store_true", help="the largest sizes too")
    given = parser.parse_args()
    print("| | run, s | training, s | scoring, s | report, s | all, s | wall, s | memory, MiB | records, MiB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.tables or known:
        for what, words in rows(given.large)[name]:
            took = measured(words)
            sums = {key: value for key, value in took.items() if key not in ("wall", "memory", "disk")}
            report, every = sums.get("report", 0.0), sum(sums.values())
            cells = [every - report, sums.get("training", 0.0), sums.get("scoring", 0.0), report, every, took["wall"]]
            sizes = took["memory"] / 2**20, took["disk"] / 2**20
            print(f"| {what} | " + " | ".join(f"{cell:.1f}" for cell in (*cells, *sizes)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
