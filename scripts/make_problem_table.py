"""Write docs/problems.md: what every problem is, how hard it is, and what the suite `standard` tells apart on it.

    python scripts/make_problem_table.py results/reference

RESULTS is a folder that the suite `standard` has filled.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import make_universal
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from optbench.core.layers import Sign, Step
from optbench.core.problem import Batch, Problem, fresh
from optbench.engine.flops import flops
from optbench.execution.suite import read_suite
from optbench.problems import PROBLEMS
from optbench.records.reader import read
from optbench.registry.catalog import Catalog
from optbench.report.analysis.findings import findings
from optbench.report.analysis.load import load_study

OUT = Path(__file__).parents[1] / "docs" / "problems.md"
EXACT = "dynamic programming"  # the family of methods that take few problems and prove their optimum
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
- *Targets*: lowest + tau (start - lowest), for each tau. No target is met by a fresh network, in 200 draws.
"""

STANDARD = """
## In the suite `standard`

What its budgets tell apart, from {trials} trials. *Scored*: points of a curve. *Reached*: how many of the optimizers
that take any problem reach the target in at least half of their seeds, each with the setting chosen for it, own work
included; failures count. On `cnn_digits` fewer than half do, for no population trains a convolution in 30 passes.
*Exact*: whether dynamic programming reaches the last one. *Test*: samples, and half the width of the 95 % interval
that so many give an accuracy of 90 %.

| problem | budget, passes | scored | test | reached | exact |
|---|---|---|---|---|---|
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


def told_apart(folder: str) -> list[str]:
    """The rows of the table of the suite `standard`."""
    found = findings(load_study([read(Path(folder))]))
    study, suite = found.study, read_suite("standard")
    exact = [label for label in study.labels if study.families[label] == EXACT]
    rows = []
    for name in suite.problems:
        cells = found.costs[(found.costs["problem"] == name)]
        cells = cells[[study.applies(name, label) for label in cells["label"]]]
        general, proved = cells[~cells["label"].isin(exact)], cells[cells["label"].isin(exact)]
        taus = sorted(cells["tau"].unique(), reverse=True)
        of = {tau: general[general["tau"] == tau]["passes"] for tau in taus}
        counts = "; ".join(f"{tau:g}: {int((of[tau] < math.inf).sum())}/{len(of[tau])}" for tau in taus)
        last = proved[proved["tau"] == taus[-1]]["passes"]
        scored = np.median(np.diff(study.bounds)[(study.trials["problem"] == name).to_numpy()])
        test = int(study.facts[name].get("test") or 0)
        metric = f"{test} (± {100 * 1.96 * math.sqrt(0.9 * 0.1 / test):.0f} %)" if test else "-"
        answer = "-" if not len(last) else "yes" if (last < math.inf).any() else "not within the budget"
        budget = suite.budgets.get(name, study.facts[name]["passes"])
        rows.append(f"| {name} | {budget:g} | {scored:.0f} | {metric} | {counts} | {answer} |")
    return rows


def row(name: str, problem: Problem) -> str:
    data = problem.data()
    sizes = " / ".join(str(len(part[0])) if part else "-" for part in data)
    parameters = sum(p.numel() for p in problem.network().parameters())
    forward, _ = flops(problem, len(data.train[0]), "cpu")
    cost = f"{forward / 1e6:.3g} MFLOP" if forward > len(data.train[0]) else "1 evaluation"
    cells = (problem.track, problem.loss_name, parameters, sizes, cost, f"{problem.passes:g}", problem.batch or "full")
    return f"| {name} | {PROBLEMS[name].summary} | " + " | ".join(str(cell) for cell in cells) + " |"


def hard(name: str, problem: Problem) -> str:
    curvature, noise = difficulty(problem)
    goals = "; ".join(f"{tau:g}: {number(value)}" for tau, value in problem.targets.items())
    lowest = f"{problem.best.value:.6g} ({problem.best.source})"
    return f"| {name} | {number(problem.start)} | {lowest} | {curvature} | {noise} | {goals} |"


def carried() -> dict[str, Problem]:
    """The problems whose data is in the package."""
    catalog = Catalog()
    return {name: catalog.problem(name) for name, entry in PROBLEMS.items() if not entry.needs}


def page(folder: str) -> str:
    problems = carried()
    lines = [HEADER, "| problem | what it is | track | loss | parameters | samples | a pass | budget, passes | batch |"]
    lines += ["|---|---|---|---|---|---|---|---|---|", *(row(name, problem) for name, problem in problems.items())]
    lines += ["", "These need what the package does not carry:", ""]
    lines += [f"- `{name}`: {entry.summary}; needs {entry.needs}." for name, entry in PROBLEMS.items() if entry.needs]
    lines += [DIFFICULTY.format(small=SMALL, sample=SAMPLE)]
    lines += ["| problem | start | lowest | curvature | noise | targets |", "|---|---|---|---|---|---|"]
    lines += [hard(name, problem) for name, problem in problems.items()]
    lines += [STANDARD.format(trials=len(read(Path(folder)).trials)).rstrip(), *told_apart(folder)]
    lines += [UNIVERSAL, *make_universal.table(pd.read_csv(make_universal.DATA)), PATHS.rstrip()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="RESULTS", help="a results folder of the suite `standard`")
    given = parser.parse_args()
    torch.set_num_threads(1)
    OUT.write_text(page(given.folder), encoding="utf-8")
