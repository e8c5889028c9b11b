"""Write docs/problems.md: what every problem is, how hard it is, and how many optimizers reach its targets.

    python docs/make_problem_table.py [RESULTS...]

With result folders it fills in the share of their optimizers that reach each target; without, the column is empty.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from measure_best_known import adam, lbfgs
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from optbench.layers import Sign, Step
from optbench.load import read
from optbench.network import flops
from optbench.plugins import Catalog
from optbench.problem import Batch, Problem, fresh
from optbench.problems import PROBLEMS
from optbench.problems.universal import Universal

OUT = Path(__file__).with_name("problems.md")
SMALL = 400  # parameters up to which the whole Hessian is computed
SAMPLE = 256  # samples whose own gradients give the noise scale
LOST = ("diverged", "failed", "timeout", "killed")

HEADER = """# The problems

Written by `python docs/make_problem_table.py RESULTS`; change the problems or that command, not this page.

A pass is the FLOPs of one forward over the training set (one evaluation for a function, one batch of episodes for
reinforcement, where equal passes are equal environment steps for every method that only asks for values, and a gradient
costs a backward on top). Samples are train / valid / test.
"""

DIFFICULTY = """
## Difficulty

*Start* is the median training loss of fresh networks over seeds 0 to 8. *Lowest* is an optimum (closed form, linear
program, dynamic programming or certified second-order solve, verified by a test), a bound (nothing is lower), or the
best known (`python docs/measure_best_known.py NAME PASSES`; the problem's file says by what, at how many passes).
*Curvature* is the condition number of the Hessian at the first fresh network where it is positive definite there, else
"indefinite" or "singular" (to {small} parameters). *Noise* is its gradient-noise scale tr(S) / |g|^2 in samples
(McCandlish et al. 2018, arXiv:1812.06162), from {sample} samples. Targets are lowest + tau (start - lowest) at the taus
shown; *reached* is how many of the optimizers, run with their default settings at the default budget, reach each of
them in at least half of their seeds: failures count, pairs that do not fit do not.
"""

UNIVERSAL = """
## Universal approximation: error against parameters

`universal[width=W,depth=D]` at the default budget: the median over three seeds of the root-mean-square training error,
for Adam (cosine schedule, the better of two learning rates each seed) and full-batch L-BFGS.
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

    if problem.track == "reinforcement":  # a return has no Hessian, and one episode has no baseline
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


def shares(folders: list[str]) -> dict[str, dict[float, str]]:
    """problem -> {tau: "reached/tried"} over the optimizers in the result folders, at the problem's default budget."""
    catalog = Catalog()
    runs: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for folder in folders:
        results = read(folder)
        lowest = results.points.groupby("trial")["loss"].min()
        for row, trial in results.trials.iterrows():
            if trial["status"] == "missing" or trial["budget"] != catalog.problem(trial["problem"]).passes:
                continue
            runs[trial["problem"], trial["label"]].append((lowest.get(row, float("inf")), trial["status"]))
    found: dict[str, dict[float, str]] = {}
    for name in dict.fromkeys(problem for problem, _ in runs):
        targets = catalog.problem(name).targets
        cells = [cell for (problem, _), cell in runs.items() if problem == name]
        cells = [cell for cell in cells if any(status != "inapplicable" for _, status in cell)]
        found[name] = {}
        for tau, target in targets.items():
            reached = sum(
                2 * sum(loss <= target and status not in LOST for loss, status in cell) >= len(cell) for cell in cells
            )
            found[name][tau] = f"{reached}/{len(cells)}"
    return found


def row(name: str, problem: Problem) -> str:
    data = problem.data()
    sizes = " / ".join(str(len(part[0])) if part else "-" for part in data)
    parameters = sum(p.numel() for p in problem.network().parameters())
    forward, _ = flops(problem, len(data.train[0]), "cpu")
    cost = f"{forward / 1e6:.3g} MFLOP" if forward > len(data.train[0]) else "1 evaluation"
    cells = (problem.track, problem.loss_name, parameters, sizes, cost, f"{problem.passes:g}", problem.batch or "full")
    return f"| {name} | {PROBLEMS[name].summary} | " + " | ".join(str(cell) for cell in cells) + " |"


def hard(name: str, problem: Problem, reached: dict[float, str]) -> str:
    curvature, noise = difficulty(problem)
    goals = "; ".join(f"{tau:g}: {number(value)}" for tau, value in problem.targets.items())
    share = "; ".join(f"{tau:g}: {text}" for tau, text in reached.items())
    lowest = f"{problem.best.value:.6g} ({problem.best.source})"
    return f"| {name} | {number(problem.start)} | {lowest} | {curvature} | {noise} | {goals} | {share} |"


def approximation() -> list[str]:
    """Rows of width, depth, parameters and errors."""
    lines = []
    for depth in (1, 2, 3):
        for width in (4, 8, 16, 32):
            problem = Universal(width, depth)
            parameters = sum(p.numel() for p in problem.network().parameters())
            first = median(min(adam(problem, lr, seed, problem.passes) for lr in (0.01, 0.03)) for seed in range(3))
            second = median(lbfgs(problem, seed, problem.passes) for seed in range(3))
            lines.append(f"| {width} | {depth} | {parameters} | {first**0.5:.2e} | {second**0.5:.2e} |")
    return lines


def page(folders: list[str]) -> str:
    catalog = Catalog()
    carried = {name: catalog.problem(name) for name, entry in PROBLEMS.items() if not entry.needs}
    reached = shares(folders)
    lines = [HEADER, "| problem | what it is | track | loss | parameters | samples | a pass | budget, passes | batch |"]
    lines += ["|---|---|---|---|---|---|---|---|---|", *(row(name, problem) for name, problem in carried.items())]
    lines += ["", "These wait for what their user brings:", ""]
    lines += [f"- `{name}`: {entry.summary}; needs {entry.needs}." for name, entry in PROBLEMS.items() if entry.needs]
    lines += [DIFFICULTY.format(small=SMALL, sample=SAMPLE)]
    lines += [
        "| problem | start | lowest | curvature | noise | targets | reached |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [hard(name, problem, reached.get(name, {})) for name, problem in carried.items()]
    lines += [UNIVERSAL, "| width | depth | parameters | Adam | L-BFGS |", "|---|---|---|---|---|", *approximation()]
    return "\n".join(lines) + "\n"


def idle(reached: dict[str, dict[float, str]]) -> list[str]:
    """The targets that all or none of the optimizers reach: they tell nothing apart."""
    found = []
    for name, targets in reached.items():
        for tau, text in targets.items():
            count, tried = map(int, text.split("/"))
            if count in (0, tried):
                found.append(f"{name} at tau {tau:g}: {text}")
    return found


if __name__ == "__main__":
    OUT.write_text(page(sys.argv[1:]), encoding="utf-8")
    for line in idle(shares(sys.argv[1:])):
        print(f"tells no optimizers apart: {line}", file=sys.stderr)
