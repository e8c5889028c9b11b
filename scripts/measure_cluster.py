"""What a cluster costs: the same trials through `--cluster local:2` and through this machine's pool, in turns.

    python scripts/measure_cluster.py --trials 2000 --rounds 1

Prints seconds, processor seconds of all processes (Linux, root), and the fields in which records differ.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from compare_records import differences, records

PROBLEMS = ("sphere_2d", "rosenbrock", "line_mse", "mlp_iris")
OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop", "pso")
ACCOUNTS = Path("/sys/fs/cgroup/cpuacct")


def suite(folder: Path, trials: int, passes: float) -> Path:
    seeds = -(-trials // (len(PROBLEMS) * len(OPTIMIZERS)))
    file = folder / "short.toml"
    lines = [f"problems = {list(PROBLEMS)}", f"optimizers = {list(OPTIMIZERS)}", f"seeds = {seeds}"]
    file.write_text("\n".join([*lines, f"passes = {passes}", "timing = false"]).replace("'", '"') + "\n")
    return file


def measured(command: list[str], name: str) -> tuple[float, float]:
    """Wall seconds and processor seconds of a command with everything that it starts; NaN where nobody counts them."""
    account = ACCOUNTS / f"optbench-{os.getpid()}-{name}"
    counts = os.name == "posix" and os.access(ACCOUNTS, os.W_OK)
    if counts:
        account.mkdir()
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", _ENTER, str(account) if counts else "", *command])
    if process.wait():
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    took = time.monotonic() - began
    if not counts:
        return took, float("nan")
    used = int((account / "cpuacct.usage").read_text()) / 1e9
    for _ in range(50):  # the last processes may still be ending
        try:
            account.rmdir()
            break
        except OSError:
            time.sleep(0.2)
    return took, used


# Enters the account and becomes the command.
_ENTER = """
import os, sys
if sys.argv[1]:
    with open(sys.argv[1] + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--passes", type=float, default=20.0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="optbench-measure-"))
    file = suite(folder, options.trials, options.passes)
    base = [sys.executable, "-m", "optbench", "run", str(file), "--lanes", str(options.lanes), "-q"]
    ways = {"pool": ["--workers", "2"], "cluster": ["--cluster", "local:2"]}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name, more in ways.items():
            command = [*base, *more, "--out", str(folder / f"{name}{number}")]
            took[name].append(measured(command, f"{name}{number}"))
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
            print(
                f"{name}: {took[name][-1][0]:.1f} s, {took[name][-1][1]:.1f} processor s, load {load:.1f}", flush=True
            )
    one, other = records(folder / "pool0"), records(folder / "cluster0")
    found = [text for key in one for text in differences(one[key], other[key])]
    own = [text for text in found if "own_flops" in text or text.startswith("state_bytes")]
    found = [text for text in found if text not in own]  # differ between two runs of one pool too
    print(f"{len(one)} trials; {len(found)} deterministic fields differ", *found[:5], sep="\n")
    for place, what in enumerate(("seconds", "processor seconds")):
        ratio = statistics.median(b[place] / a[place] for a, b in zip(took["pool"], took["cluster"], strict=True))
        print(f"cluster to pool, {what}: {ratio:.3f}")
    shutil.rmtree(folder, ignore_errors=True)
    return int(bool(found) or one.keys() != other.keys())


if __name__ == "__main__":
    sys.exit(main())
