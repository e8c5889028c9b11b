"""Write docs/problems.md: what every problem is, how hard it is, and how many optimizers reach its targets.

    python scripts/make_problem_table.py [RESULTS...]

With result folders it fills in the share of their optimizers that reach each target; without, the column is empty.
Only trials with an optimizer's default settings at a problem's default budget count; the rest is named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import make_universal
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from optbench.core.layers import Sign, Step
from optbench.core.problem import Batch, Problem, fresh
from optbench.core.trial import FAILED
from optbench.engine.flops import flops
from optbench.problems import PROBLEMS
from optbench.records.reader import read
from optbench.registry.catalog import Catalog

OUT = Path(__file__).parents[1] / "docs" / "problems.md"
NOT_COUNTED = "not counted yet"  # of a problem that no run has had
SMALL = 400  # parameters up to which the whole Hessian is computed
SAMPLE = 256  # samples whose own gradients give the noise scale

HEADER = """# The problems

Written by `python scripts/make_problem_table.py RESULTS`. Change the problems or that script, not this page.

A pass is the FLOPs of one forward evaluation over the training set. For a function it is one evaluation. For
reinforcement it is one batch of episodes: equal passes are equal environment steps for every method that asks for
values only. A gradient by REINFORCE also runs the policy forward and backward on the states that it met, about 2.2
passes on top. Records count the episodes that a trial has seen as `forward`. Samples are train / valid / test.
"""

DIFFICULTY = """
## Difficulty

- *Start*: the median training loss of fresh networks over seeds 0 to 8.
- *Lowest*: an optimum (closed form, linear program, dynamic programming or a certified second-order solution,
  verified by a test), a bound (nothing is lower), or the best known (`python scripts/measure_best_known.py mlp_iris
  --starts 50`; the problem's file says by what effort).
- *Curvature*: the condition number of the Hessian at the first fresh network where it is positive definite there,
  else "indefinite" or "singular" (up to {small} parameters).
- *Noise*: the gradient-noise scale tr(S) / |g|^2 in samples (McCandlish et al. 2018, arXiv:1812.06162), from
  {sample} samples.
- *Targets*: lowest + tau (start - lowest), for each tau.
- *Reached*: how many of the optimizers, with default settings at the default budget, reach the target in at least
  half of their seeds. Failures count; pairs that are inapplicable do not.

{origin}
"""

UNIVERSAL = """
## Universal approximation: error against parameters

The suite `universal` trains `universal[width=W,depth=D]` at its default budget; `scripts/make_universal.py` makes
table and figure. The table gives the root-mean-square error between the training points, and in brackets the
largest error, as medians over five seeds. The theorem promises that some network of enough units comes as near as
one likes. The table shows what training finds.

![Error against parameters, one panel per depth](figures/universal.svg)
"""

PATHS = """
## Where optimizers go

The functions in two dimensions, from the points of the records (`scripts/make_trajectories.py`).

![Trajectories of six optimizers on the contours of six functions](figures/trajectories.svg)
"""


class Reached(NamedTuple):
    """What the records of result folders say of the targets."""

    counts: dict[str, dict[float, tuple[int, int]]]  # problem: {tau: (optimizers that reach it, optimizers tried)}
    origin: str  # one sentence on the trials that are in the counts
    left_out: Counter[str]  # why trials are not in them


class Difficulty(NamedTuple):
    curvature: str
    noise: str


def number(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def difficulty(problem: Problem) -> Difficulty:
    """Curvature and gradient noise at the first fresh network, in eval mode."""
    net = fresh(problem, 0)[0].eval()
    names = [name for name, _ in net.named_parameters()]
    shapes = [p.shape for p in net.parameters()]
    sizes = [p.numel() for p in net.parameters()]
    start = torch.cat([p.detach().reshape(-1) for p in net.parameters()])

    def loss(row: Tensor, *batch: Tensor) -> Tensor:
        parts = row.tensor_split(torch.tensor(sizes).cumsum(0)[:-1].tolist())
        values = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return problem.loss(lambda *inputs: functional_call(net, values, inputs), batch)

    if problem.track == "reinforcement":  # the score function's gradient is of no loss, and one episode has no baseline
        return Difficulty("", "")
    if any(isinstance(module, Step | Sign) for module in net.modules()):  # backward is a stand-in there
        return Difficulty("", "")
    train = problem.data().train
    return Difficulty(_curvature(loss, start, train) if len(start) <= SMALL else "", _noise(loss, start, train))


def _curvature(loss: Callable[..., Tensor], start: Tensor, train: Batch) -> str:
    """The condition number, or why there is none."""
    hessian = jacrev(jacrev(loss))(start, *train).double()
    values = torch.linalg.eigvalsh((hessian + hessian.T) / 2)
    small = 1e-9 * values.abs().max()
    if values[0] < -small:
        return "indefinite"
    return "singular" if values[0] <= small else number((values[-1] / values[0]).item())


def _noise(loss: Callable[..., Tensor], start: Tensor, train: Batch) -> str:
    """tr(S) / |g|^2 with the bias of |g|^2 taken off; empty for a single sample."""
    count = min(SAMPLE, len(train[0]))
    if count < 2:
        return ""
    own = vmap(grad(loss), in_dims=(None, *([0] * len(train))), chunk_size=32)(
        start, *(tensor[:count].unsqueeze(1) for tensor in train)
    ).double()
    spread = own.var(0).sum()
    signal = own.mean(0).square().sum() - spread / count
    return number((spread / signal).item()) if signal > 0 else f"over {count}"


def reached(folders: list[str]) -> Reached:
    """How many optimizers reach each target in at least half of their seeds, over the trials of the result folders."""
    problems = carried()
    losses: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))  # problem, optimizer, key
    left_out: Counter[str] = Counter()
    seeds: set[int] = set()
    for folder in folders:
        results = read(folder)
        lowest = results.points.groupby("trial")["loss"].min()
        for index, trial in results.trials.iterrows():
            if reason := _no_part(trial, problems):
                left_out[reason] += 1
                continue
            failed = trial["status"] in FAILED
            losses[trial["problem"]][trial["optimizer"]][trial["key"]] = (
                float("inf") if failed else lowest.get(index, float("inf"))
            )
            seeds.add(trial["seed"])
    counts: dict[str, dict[float, tuple[int, int]]] = {}
    for name, cells in losses.items():
        counts[name] = {}
        for tau, target in problems[name].targets.items():
            there = sum(2 * sum(loss <= target for loss in cell.values()) >= len(cell) for cell in cells.values())
            counts[name][tau] = there, len(cells)
    trials = sum(len(cell) for cells in losses.values() for cell in cells.values())
    optimizers = {optimizer for cells in losses.values() for optimizer in cells}
    origin = f"From {trials} trials of {len(optimizers)} optimizers, up to {len(seeds)} seeds." if trials else ""
    return Reached(counts, origin, left_out)


def _no_part(trial: Any, problems: dict[str, Problem]) -> str:
    """Why a trial says nothing of the default setting at the default budget; "" if it does."""
    if trial["status"] == "missing":
        return "without a record"
    if trial["status"] == "inapplicable":
        return "of optimizers that do not fit the problem"
    if trial["problem"] not in problems:
        return "on problems that are not in the table, or with settings of their own"
    if trial["hyper"]:
        return "of optimizers with settings other than their defaults"
    if trial["budget"] != problems[trial["problem"]].passes:
        return "at another budget than the default"
    return ""


def row(name: str, problem: Problem) -> str:
    data = problem.data()
    sizes = " / ".join(str(len(part[0])) if part else "-" for part in data)
    parameters = sum(p.numel() for p in problem.network().parameters())
    forward, _ = flops(problem, len(data.train[0]), "cpu")
    cost = f"{forward / 1e6:.3g} MFLOP" if forward > len(data.train[0]) else "1 evaluation"
    cells = (problem.track, problem.loss_name, parameters, sizes, cost, f"{problem.passes:g}", problem.batch or "full")
    return f"| {name} | {PROBLEMS[name].summary} | " + " | ".join(str(cell) for cell in cells) + " |"


def hard(name: str, problem: Problem, counts: dict[float, tuple[int, int]]) -> str:
    curvature, noise = difficulty(problem)
    goals = "; ".join(f"{tau:g}: {number(value)}" for tau, value in problem.targets.items())
    share = "; ".join(f"{tau:g}: {there}/{tried}" for tau, (there, tried) in counts.items()) or NOT_COUNTED
    lowest = f"{problem.best.value:.6g} ({problem.best.source})"
    return f"| {name} | {number(problem.start)} | {lowest} | {curvature} | {noise} | {goals} | {share} |"


def carried() -> dict[str, Problem]:
    """The problems whose data is in the package."""
    catalog = Catalog()
    return {name: catalog.problem(name) for name, entry in PROBLEMS.items() if not entry.needs}


def page(found: Reached) -> str:
    problems = carried()
    lines = [HEADER, "| problem | what it is | track | loss | parameters | samples | a pass | budget, passes | batch |"]
    lines += ["|---|---|---|---|---|---|---|---|---|", *(row(name, problem) for name, problem in problems.items())]
    lines += ["", "These need data of your own:", ""]
    lines += [f"- `{name}`: {entry.summary}; needs {entry.needs}." for name, entry in PROBLEMS.items() if entry.needs]
    lines += [DIFFICULTY.format(small=SMALL, sample=SAMPLE, origin=found.origin)]
    lines += ["| problem | start | lowest | curvature | noise | targets | reached |", "|---|---|---|---|---|---|---|"]
    lines += [hard(name, problem, found.counts.get(name, {})) for name, problem in problems.items()]
    lines += [UNIVERSAL, *make_universal.table(pd.read_csv(make_universal.DATA)), PATHS.rstrip()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="*", help="results folders whose optimizers are counted")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = reached(given.folder)
    OUT.write_text(page(found), encoding="utf-8")
    for reason, count in found.left_out.items():
        print(f"left out: {count} trials {reason}", file=sys.stderr)
    for name, counts in found.counts.items():
        for tau, (there, tried) in counts.items():
            if there in (0, tried):
                print(f"tells no optimizers apart: {name} at tau {tau:g}: {there}/{tried}", file=sys.stderr)
