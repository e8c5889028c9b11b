"""Where the processor's time of a whole command goes, phase by phase: a sweep, the suite quick and a run of one trial.

    python tests/benchmarks/bench_whole.py sweep quick one --rounds 3
    python tests/benchmarks/bench_whole.py sweep --jax /path/to/a/python/with/jax

The sweep is 160 trials of the digits MLP, Adam at 8 learning rates with 20 seeds, 2,761 steps each; it also runs as a
program written by hand in JAX that scores at the same steps, in the same rounds. Commands are run as a user types them,
each as often as there are rounds, in turns; what is printed are minima. Processor seconds are those of the command and
all its children. `--beside PYTHON` runs another installation's optbench in turns with it, as what was before a change.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

PHASES = Path(__file__).with_name("phases")
RATES, SEEDS, STEPS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1), 20, 2761
COMMANDS = {
    "sweep": [
        *("--problem", "mlp_digits", "--optimizer", f"adam[lr={','.join(f'{rate:g}' for rate in RATES)}]"),
        *("--seeds", str(SEEDS), "--steps", str(STEPS)),
    ],
    "quick": ["quick"],
    "one": ["--problem", "mlp_digits", "--optimizer", "adam", "--seeds", "1", "--passes", "20"],
}
ORDER = (
    "start-up", "planning", "data", "lane measurement", "setup", "tracing", "warm-up", "training", "scoring", "records",
    "timing pass", "report",
)  # fmt: skip


def used() -> float:
    """Processor seconds of all children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def command(words: list[str], python: str, more: list[str]) -> dict[str, float]:
    """One command: wall and processor seconds, and those of each phase."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        phases, out = Path(scratch) / "phases", Path(scratch) / "out"
        phases.mkdir()
        paths = os.pathsep.join([str(PHASES), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths, "OPTBENCH_PHASES": str(phases)}
        began = time.perf_counter()
        line = [python, "-m", "optbench", "run", *words, *more, "--out", str(out), "-q"]
        done = subprocess.run(line, cwd=scratch, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(line)}: {done.stderr}")
        found: Counter[str] = Counter()
        for file in phases.glob("*.json"):
            found.update(json.loads(file.read_text(encoding="utf-8")))
        whole = {"wall": time.perf_counter() - began, "all": sum(found.values())}
        records = [json.loads(text) for text in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]
        return {**found, **whole, "loss": statistics.median(_loss(record) for record in records)}


def _loss(record: dict[str, Any]) -> float:
    """The last training loss of a record; infinite where there is none, or it is no number."""
    last = record["curve"][-1]["loss"] if record["curve"] else None
    return float("inf") if last is None else float(last)


def sweep_file(where: Path) -> Path:
    """What the JAX program needs: data, starts, rates, and the steps at which trials are scored."""
    import numpy as np

    from optbench.core.problem import fresh
    from optbench.core.scoring import checkpoints
    from optbench.engine.flops import costs
    from optbench.registry.catalog import Catalog

    problem = Catalog().problem("mlp_digits")
    cost = costs(problem, problem.batch, "cpu")
    stops = [0] + [-(-at // cost.gradient) for at in checkpoints(STEPS * cost.gradient, cost.one_pass)]
    given: dict[str, Any] = {"rates": np.repeat(RATES, SEEDS).astype("float32"), "batch": problem.batch}
    for k, part in enumerate(problem.data()):
        assert part is not None
        given[f"x{k}"], given[f"y{k}"] = (tensor.numpy() for tensor in part)
    nets = [list(fresh(problem, seed)[0].parameters()) for _ in RATES for seed in range(SEEDS)]
    for k in range(4):
        given[f"p{k}"] = np.stack([net[k].detach().numpy() for net in nets])
    np.savez(where, stops=np.array(stops), **given)
    return where


def jax_side(python: str, file: Path) -> dict[str, float]:
    """The same by the JAX program."""
    before, began = used(), time.perf_counter()
    line = [python, str(Path(__file__).with_name("whole_jax.py")), str(file)]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout)
    took = {"wall": time.perf_counter() - began, "all": used() - before}
    return {**took, "loss": said["median_final_loss"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", choices=[*COMMANDS, []], default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", metavar="PYTHON", action="append", default=[], help="another installation's")
    parser.add_argument("--jax", metavar="PYTHON", help="an interpreter that has jax, for the sweep")
    parser.add_argument("--more", default="", help="further arguments of every command, as '--timing none'")
    options = parser.parse_args()
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        file = sweep_file(Path(scratch) / "sweep.npz") if options.jax else None
        for _ in range(options.rounds):
            for name in options.commands or COMMANDS:
                for python in (sys.executable, *options.beside):
                    side = "this" if python == sys.executable else Path(python).parents[1].name
                    took = command(COMMANDS[name], python, options.more.split())
                    found.setdefault((name, side), []).append(took)
                    print(f"{name}, {side}: {json.dumps(took)}", file=sys.stderr, flush=True)
                if name == "sweep" and file:
                    found.setdefault((name, "JAX"), []).append(jax_side(options.jax, file))
    sides = list(found)
    print("| processor seconds | " + " | ".join(f"{name}, {side}" for name, side in sides) + " |")
    print("|---|" + "---:|" * len(sides))
    for phase in (*ORDER, "all", "wall", "loss"):
        cells = [[took[phase] for took in found[side] if phase in took] for side in sides]
        shown = [f"{statistics.median(cell) if phase == 'loss' else min(cell):.4g}" if cell else "" for cell in cells]
        print(f"| {phase} | " + " | ".join(shown) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
