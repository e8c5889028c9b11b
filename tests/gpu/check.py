"""Everything that has a device, checked and measured on this machine's GPU: bash tests/gpu/run.sh NAME.

Writes NAME.json, and NAME.md as a table for docs, after every step, so that a run that is cut off leaves what it has.
A step that is begun late is left out and named. `--device cpu --small` is the dry run; what needs a GPU says so there.
Exit 1 where a check failed; a measurement never fails.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.steps import BATCH, bare, grouped

from optbench.core.objective import Stop
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.engine.metered import metered
from optbench.engine.model import BatchedModel
from optbench.execution.grouping import smaller_groups
from optbench.execution.lane_group import run_group
from optbench.execution.machine import ceiling, describe, versions
from optbench.execution.memory import footprint
from optbench.execution.task import LaneGroup, Outcome
from optbench.optimizers.swarm.particle_swarm import ParticleSwarm
from optbench.problems import PROBLEMS
from optbench.problems.teacher import Teacher
from optbench.registry.catalog import Catalog

KINDS = {"mlp": "mlp_digits[hidden=64]", "cnn": "cnn_digits", "transformer": "transformer_shakespeare"}
WIDTHS = {"mlp": (1, 32, 256, 1024, 4096), "cnn": (1, 32, 256, 1024), "transformer": (1, 8, 32)}
SMALL = {"mlp": (1, 8), "cnn": (1, 4), "transformer": (1, 2)}
GOAL, GOAL_LANES = 200.0, 1024  # times the plain loop, and lanes from which on it is asked for
MAX_APART = 0.02  # of a loss, between a lane and the same trial by itself, after so few steps
CATALOG = Catalog()


@dataclass
class Check:
    """One run of this script: what it was asked, what it found, what failed."""

    device: str
    small: bool
    out: Path
    name: str
    limit: float
    began: float = field(default_factory=time.monotonic)
    found: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        return self.limit - (time.monotonic() - self.began)

    def synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, step: Callable[[], None], least: float) -> float:
        """Seconds of a step, over at least so many seconds of them."""
        step()
        self.synchronise()
        count, began = 0, time.perf_counter()
        while count < 3 or time.perf_counter() - began < least:
            for _ in range(5):
                step()
            self.synchronise()
            count += 5
        return (time.perf_counter() - began) / count

    def expect(self, holds: bool, what: str) -> None:
        """A check: what is wrong where it does not hold."""
        if not holds:
            self.failed.append(what)

    def run(self, *words: str, limit: float) -> tuple[list[dict[str, Any]], str]:
        """Records and the last line of one command."""
        with tempfile.TemporaryDirectory() as scratch:
            line = [sys.executable, "-m", "optbench", "run", *words, "-q"]
            line += ["--device", self.device, "--out", f"{scratch}/out"]
            try:
                done = subprocess.run(line, capture_output=True, text=True, timeout=max(10.0, limit))
                last = ((done.stdout + done.stderr).strip().splitlines() or [""])[-1]
            except subprocess.TimeoutExpired:
                last = f"more than {limit:.0f} s"
            file = Path(scratch) / "out" / "records.jsonl"
            lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
            return [json.loads(line) for line in lines], last

    def save(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        whole = {**self.found, "failed": self.failed, "took_s": round(time.monotonic() - self.began, 1)}
        (self.out / f"{self.name}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        (self.out / f"{self.name}.md").write_text("\n".join(table(whole)) + "\n", encoding="utf-8")


def machine(check: Check) -> dict[str, Any]:
    """What it is, and what one large product reaches here."""
    return {"machine": describe(), "versions": versions(), "ceiling_flops_per_second": ceiling(check.device)}


def graphs(check: Check) -> dict[str, Any]:
    """Steps of a few lanes, compiled and eager, on changing points and minibatches: are they the same, and captured?"""
    found: dict[str, Any] = {}
    for kind, text in KINDS.items():
        problem = CATALOG.problem(text)
        if not problem.vmaps:
            found[kind] = "torch.vmap cannot batch this network"
            continue
        data = splits(problem, check.device).train
        models = [BatchedModel(problem, (0, 1, 2), check.device, steps=n, eager=n == 0) for n in (1000, 0)]
        apart = 0.0
        for step in range(4):
            index = torch.randint(len(data[0]), (3, 32), generator=torch.Generator().manual_seed(step)).to(check.device)
            points = models[0].matrix * (1 + step)
            (_, mine), (_, theirs) = (model.gradients(points, data, index, step) for model in models)
            apart = max(apart, float((mine - theirs).abs().max() / theirs.abs().max()))
        captured = models[0].uncaptured or "captured"
        found[kind] = {"apart": apart, "step": captured if check.device == "cuda" else "traced; a GPU captures it"}
        check.expect(apart < 1e-4, f"graphs: {kind}, compiled and eager gradients are {apart:.1e} apart")
        check.expect(check.device != "cuda" or captured == "captured", f"graphs: {kind} was not captured: {captured}")
    return found


def lanes(check: Check) -> dict[str, Any]:
    """Microseconds of a trial-step by the width of a group, against a plain loop on the same device and against JAX."""
    found: dict[str, Any] = {}
    peak, least = check.found["machine"]["ceiling_flops_per_second"], 0.1 if check.small else 1.0
    for kind, text in KINDS.items():
        problem = CATALOG.problem(text)
        work = sum(flops(problem, BATCH, check.device))
        plain = check.seconds(bare(problem, check.device), least)
        rows: dict[str, Any] = {"plain": {"us": 1e6 * plain, "share_of_ceiling": work / plain / peak}}
        for width in (SMALL if check.small else WIDTHS)[kind]:
            if check.left < 60 or (width > 1 and not problem.vmaps):
                break
            try:
                lane = check.seconds(grouped(problem, width, check.device), least) / width
            except torch.OutOfMemoryError:
                rows[str(width)] = "out of memory"
                break
            rows[str(width)] = {"us": 1e6 * lane, "times_plain": plain / lane, "share_of_ceiling": work / lane / peak}
            if check.device == "cuda":
                torch.cuda.empty_cache()
        found[kind] = rows
        check.found["lanes"] = found
        check.save()
    if not check.small:
        by_width = {
            int(width): row for width, row in found["mlp"].items() if width.isdecimal() and isinstance(row, dict)
        }
        wide = [row["times_plain"] for width, row in by_width.items() if width >= GOAL_LANES]
        found["goal"] = {"times_plain": GOAL, "from_lanes": GOAL_LANES, "reached": max(wide, default=0.0) >= GOAL}
    found["jax"] = _jax(check)
    return found


def _jax(check: Check) -> Any:
    """The MLP's step in JAX, where it is installed; on a GPU it takes the same one."""
    with suppress(ModuleNotFoundError):
        from benchmarks.bench_lanes import with_jax

        widths = (8,) if check.small else (32, 1024)
        return {str(width): {"us": 1e6 * with_jax("mlp", width, 40 * width)} for width in widths}
    return "not installed"


def same(check: Check) -> dict[str, Any]:
    """Trials in lanes and the same trials one by one, after some passes: how far apart are their losses?"""
    words = ["--problem", "mlp_digits", "--optimizer", "adam", "--optimizer", "pso", "--seeds", "4", "--passes", "12"]
    runs = [check.run(*words, "--timing", "none", "--lanes", lanes, limit=60)[0] for lanes in ("1", "4")]
    one, many = ({(r["optimizer"], r["seed"]): r["curve"][-1]["loss"] for r in run if r["curve"]} for run in runs)
    apart = max((abs(one[key] - many[key]) / abs(one[key]) for key in one.keys() & many.keys()), default=math.inf)
    check.expect(len(one) == len(many) == 8, f"same: {len(one)} and {len(many)} of 8 trials have a curve")
    check.expect(apart < MAX_APART, f"same: a loss in lanes is {apart:.1%} from that of the trial by itself")
    return {"trials": len(one.keys() & many.keys()), "apart": apart}


def population(check: Check) -> dict[str, Any]:
    """Candidates a second of a swarm, from the Teacher's network with 96,041 parameters, by the number of particles."""
    problem = Teacher(features=60, hidden=8 if check.small else 281, depth=2)
    found: dict[str, Any] = {}
    for size in (16,) if check.small else (64, 512, 4096):
        if check.left < 45:
            break
        try:
            f = metered(problem, [0], 3.0 * size, device=check.device)
            f.start_clock()
            with suppress(Stop):
                ParticleSwarm(swarm=size).minimise(f)
            spent = f.finish().spent
        except torch.OutOfMemoryError:
            found[str(size)] = "out of memory"
            break
        found[str(size)] = {"parameters": f.dim, "candidates_per_second": spent.evaluations / spent.seconds}
        check.expect(spent.evaluations >= 2 * size, f"population: {spent.evaluations} evaluations of {size} particles")
    return found


def memory(check: Check) -> dict[str, Any]:
    """Bytes that a group was predicted to take, and what it took."""
    width = 4 if check.small else 256
    trials = tuple(Trial("cnn_digits", "adam", (), seed, 6.0, check.device) for seed in range(width))
    predicted = footprint(trials, CATALOG).of(width)
    took = run_group(trials, CATALOG)[0].peak_bytes or 0
    both = f"{took / 2**20:.0f} MiB taken where {predicted / 2**20:.0f} were predicted"
    check.expect(took < 2 * predicted, f"memory: {both}")
    return {"lanes": width, "predicted_bytes": predicted, "taken_bytes": took}


def halving(check: Check) -> Any:
    """A group that does not fit the GPU is run in halves, and every trial has its record."""
    if check.device != "cuda":
        return "needs a GPU: the memory of a device that is full"
    share = max(0.01, min(1.0, 1.5 * 2**30 / torch.cuda.get_device_properties(0).total_memory))
    torch.cuda.empty_cache()
    trials = tuple(Trial("cnn_digits", "adam", (), seed, 2.0, "cuda") for seed in range(2048))
    torch.cuda.set_per_process_memory_fraction(share)
    waiting, records, halved = [LaneGroup(trials)], 0, 0
    try:
        while waiting and check.left > 20:
            group = waiting.pop()
            try:
                done = run_group(group.trials, CATALOG)
                records += sum(record.status == "spent" for record in done)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
                halved += 1
                waiting += smaller_groups(Outcome(group, [], out_of_memory=True))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    check.expect(halved > 0, "halving: 2,048 lanes fitted 1.5 GiB, so nothing was seen")
    check.expect(records == len(trials) or bool(waiting), f"halving: {records} of {len(trials)} trials were spent")
    left = sum(len(group.trials) for group in waiting)
    return {"bytes": 1.5 * 2**30, "halved": halved, "spent": records, "not_run_in_time": left}


def energy(check: Check) -> Any:
    """Joules and use of the GPU of one trial that has it to itself."""
    words = ["--problem", "cnn_digits", "--optimizer", "adam", "--seeds", "1", "--passes", "2" if check.small else "60"]
    records, last = check.run(*words, limit=60)
    if not records:
        check.expect(False, f"energy: no record; {last}")
        return last
    row = records[0]
    told = {name: row.get(name) for name in ("joules", "utilisation", "seconds", "status")}
    return told if check.device == "cuda" else {**told, "note": "needs a GPU, and the package nvidia-ml-py"}


def precision(check: Check) -> dict[str, Any]:
    """What bf16 does to the final loss and to the time of a trial-step, against float32; scores are in float32."""
    found: dict[str, Any] = {}
    for text in (KINDS["mlp"], KINDS["cnn"]):
        width, passes = (2, 4.0) if check.small else (32, 60.0)
        for kind in ("float32", "bf16"):
            hyper = (("precision", kind),) if kind == "bf16" else ()
            trials = tuple(Trial(text, "adam", hyper, seed, passes, check.device) for seed in range(width))
            done = run_group(trials, CATALOG)
            losses = [record.curve[-1]["loss"] for record in done if record.status == "spent"]
            check.expect(len(losses) == width, f"precision: {text} in {kind}: {done[0].status}, {done[0].error}")
            if losses:
                us = 1e6 * done[0].seconds / done[0].evaluations / width
                found[f"{text}, {kind}"] = {"lanes": width, "median_loss": statistics.median(losses), "us": us}
    return found


def carried(small: bool) -> list[str]:
    """The problems that need nothing which their user must bring; some of them for a dry run."""
    return [name for name, entry in PROBLEMS.items() if not entry.needs][:: 12 if small else 1]


def problems(check: Check) -> dict[str, Any]:
    """Every problem that the package carries trains, by gradients and by a swarm."""
    names = carried(check.small)
    words = [word for name in names for word in ("--problem", name)]
    more = ["--optimizer", "adam", "--optimizer", "pso", "--seeds", "1", "--passes", "3", "--timing", "none"]
    records, last = check.run(*words, *more, limit=check.left - 5)
    good = ("spent", "finished", "inapplicable")
    failed = [record for record in records if record["status"] not in good]
    bad = {f"{one['problem']} x {one['optimizer']}": f"{one['status']}: {one['error']}" for one in failed}
    check.expect(not bad, f"problems: {len(bad)} trials failed: {'; '.join(sorted(bad)[:5])}")
    check.expect(bool(records), f"problems: no record; {last}")
    return {"planned": 2 * len(names), "records": len(records), "bad": bad, "last_line": last}


STEPS: dict[str, tuple[Callable[[Check], Any], float]] = {  # and seconds that must be left to begin
    "machine": (machine, -math.inf),
    "graphs": (graphs, 60),
    "lanes": (lanes, 60),
    "same": (same, 60),
    "population": (population, 45),
    "precision": (precision, 30),
    "memory": (memory, 20),
    "halving": (halving, 20),
    "energy": (energy, 20),
    "problems": (problems, 15),
}


def table(found: dict[str, Any]) -> Iterable[str]:
    """What was found as a page for docs."""
    about = found.get("machine", {})
    on = about.get("machine", {})
    yield f"# {on.get('gpu') or on.get('cpu') or 'unknown'}\n"
    yield f"{', '.join(f'{key} {value}' for key, value in about.get('versions', {}).items())}\n"
    yield "| | lanes | microseconds a trial-step | times the plain loop | of the ceiling |\n|---|---:|---:|---:|---:|"
    for kind in KINDS:
        for width, row in found.get("lanes", {}).get(kind, {}).items():
            if isinstance(row, dict):
                times = f"{row['times_plain']:.1f}" if "times_plain" in row else ""
                yield f"| {kind} | {width} | {row['us']:.2f} | {times} | {row['share_of_ceiling']:.2%} |"
            else:
                yield f"| {kind} | {width} | {row} | | |"
    yield ""
    for name in STEPS:
        if name not in ("machine", "lanes") and name in found:
            yield f"- {name}: {json.dumps(found[name])}"
    for text in found.get("failed", []):
        yield f"- FAILED {text}"
    yield f"- left out for lack of time: {', '.join(found.get('left_out', [])) or 'nothing'}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the files that are written")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "results" / "gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a dry run: few lanes, few problems")
    parser.add_argument("--limit", type=float, default=345.0, help="seconds in which it should be done")
    parser.add_argument("--step", action="append", choices=list(STEPS), help="only these; repeatable")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; --device cpu --small is the dry run", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    check = Check(given.device, given.small, given.out, given.name, given.limit)
    check.found["left_out"] = []
    for name, (step, least) in STEPS.items():
        if given.step and name not in ("machine", *given.step):
            continue
        if check.left < least:
            check.found["left_out"].append(name)
            continue
        began = time.monotonic()
        try:
            check.found[name] = step(check)
        except Exception as error:  # the next step may go well all the same
            traceback.print_exc()
            check.failed.append(f"{name}: {type(error).__name__}: {error}")
        now = f"[{time.monotonic() - check.began:5.0f} s] {name}, {time.monotonic() - began:.1f} s"
        print(f"{now}: {json.dumps(check.found.get(name))}")
        check.save()
    check.save()
    for text in check.failed:
        print(f"FAILED {text}")
    return int(bool(check.failed))


if __name__ == "__main__":
    sys.exit(main())
