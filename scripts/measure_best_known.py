"""Measure how low a training loss gets: the source of "best known" values. A problem's file says by what effort.

    python scripts/measure_best_known.py NAME --starts 50         (L-BFGS in float64 from fresh networks)
    python scripts/measure_best_known.py NAME [PASSES [SEEDS]]     (if not given, ten times the default budget and two)

With `--starts`: scipy's L-BFGS on the full batch in float64 from the fresh networks of seeds 0, 1, ..., a tenth of the
iterations each; the best tenth of them, five at least, go on with all of them. For networks that draw no random numbers
and whose gradient is that of their loss. It prints the lowest loss, the effort, and whether the stated value stands.

Without: Adam (cosine schedule, three learning rates) and full-batch L-BFGS (not for reinforcement) as plain PyTorch
loops in the problem's own precision, the lowest training loss of each, lowest first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from optbench.core.minibatches import batches
from optbench.core.problem import Problem, fresh
from optbench.registry.catalog import Catalog

STEP_PASSES = 2.6  # of a forward and a backward evaluation, roughly
HISTORY = 50  # pairs of steps and gradients that L-BFGS keeps


class Descent(NamedTuple):
    """Where L-BFGS ended from one start."""

    seed: int
    loss: float
    evaluations: int
    x: NDArray[np.float64]  # (D,)


def descend(problem: Problem, seed: int, iterations: int, start: NDArray[np.float64] | None = None) -> Descent:
    """L-BFGS in float64 on the training set, in eval mode, from `start` (D,) or the fresh network of this seed."""
    net = fresh(problem, seed)[0].double().eval()
    data = tuple(t.double() if t.is_floating_point() else t for t in problem.data().train)
    leaves = list(net.parameters())

    def loss_and_gradient(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        torch.nn.utils.vector_to_parameters(torch.as_tensor(x), leaves)
        loss = problem.loss(net, data)
        gradients = torch.autograd.grad(loss, leaves)
        return loss.item(), torch.cat([g.reshape(-1) for g in gradients]).numpy()

    if start is None:
        start = torch.nn.utils.parameters_to_vector(leaves).detach().numpy().copy()
    options: Any = {"maxiter": iterations, "maxfun": 10 * iterations, "maxcor": HISTORY, "ftol": 0.0, "gtol": 1e-12}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return Descent(seed, float(found.fun), int(found.nfev), found.x)


def measure(name: str, problem: Problem, starts: int, iterations: int) -> str:
    """What `starts` descents reach, in one line. Raises ValueError for a problem that they do not suit."""
    if problem.stochastic or problem.track == "reinforcement":
        raise ValueError(f"{name}: its loss draws random numbers or has no gradient of its own; leave --starts out")
    began = perf_counter()
    first = sorted((descend(problem, seed, iterations // 10) for seed in range(starts)), key=lambda one: one.loss)
    finalists = first[: max(5, starts // 10)]
    last = [descend(problem, one.seed, iterations, one.x) for one in finalists]
    best = min(last, key=lambda one: one.loss)
    spent = sum(one.evaluations for one in first + last)
    stated = problem.best
    verdict = "is beaten" if best.loss < stated.value * (1 - 1e-6) else "stands"
    ends = ", ".join(f"{one.loss:.6g}" for one in sorted(last, key=lambda one: one.loss)[1:])
    return (
        f"{name}: {best.loss:.9g} from seed {best.seed}; the other finalists {ends}; the median start "
        f"{float(np.median([one.loss for one in first])):.6g}. {starts} starts of {iterations // 10} iterations, "
        f"{len(finalists)} of them then {iterations} more: {spent} evaluations, {perf_counter() - began:.0f} s. "
        f"Stated: {stated.value:.9g} ({stated.source}), which {verdict}."
    )


def adam(problem: Problem, lr: float, seed: int, passes: float) -> float:
    """Training loss after Adam with a cosine schedule, in eval mode; the lowest of twenty checks on the way."""
    data = problem.data().train
    samples = len(data[0])
    size = problem.batch or samples
    steps = int(passes * samples / size / STEP_PASSES)
    net = fresh(problem, seed)[0]
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best = float("inf")
    torch.manual_seed(seed)
    for step, index in zip(range(1, steps + 1), batches(samples, size, seed), strict=False):
        optimizer.zero_grad()
        problem.loss(net, data if size == samples else tuple(t[index] for t in data)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 100.0)
        optimizer.step()
        schedule.step()
        if step % max(1, steps // 20) == 0:
            best = min(best, evaluate(problem, net))
    return best


def lbfgs(problem: Problem, seed: int, passes: float) -> float:
    """Training loss after full-batch L-BFGS with a strong Wolfe line search."""
    data = problem.data().train
    net = fresh(problem, seed)[0].eval()
    evaluations = int(passes / STEP_PASSES)
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=evaluations, max_eval=evaluations, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = problem.loss(net, data)
        loss.backward()
        return loss

    optimizer.step(closure)
    return evaluate(problem, net)


def evaluate(problem: Problem, net: torch.nn.Module) -> float:
    """Training loss in eval mode; leaves the network in the mode it was in."""
    was = net.training
    net.eval()
    with torch.no_grad():
        loss = problem.loss(net, problem.data().train).item()
    net.train(was)
    return loss


def attempts(problem: Problem, passes: float, seeds: int) -> Iterator[tuple[str, float]]:
    """(what was run, lowest training loss)."""
    for seed in range(seeds):
        for lr in (0.003, 0.01, 0.03):
            yield f"adam lr={lr} cosine seed={seed}", adam(problem, lr, seed, passes)
        if problem.track != "reinforcement":
            yield f"lbfgs seed={seed}", lbfgs(problem, seed, passes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a problem, with settings if need be")
    parser.add_argument(
        "passes", nargs="?", type=float, help="budget of an attempt; ten times the default if not given"
    )
    parser.add_argument("seeds", nargs="?", type=int, default=2)
    parser.add_argument("--starts", type=int, default=0, help="descents by L-BFGS in float64 instead")
    parser.add_argument("--iterations", type=int, default=5000, help="of a descent, at most")
    given = parser.parse_args()
    problem = Catalog().problem(given.name)
    torch.set_num_threads(1)
    if given.starts:
        print(measure(given.name, problem, given.starts, given.iterations), flush=True)
        return
    budget = given.passes or 10 * problem.passes
    for label, loss in sorted(attempts(problem, budget, given.seeds), key=lambda pair: pair[1]):
        print(f"{given.name}  {loss:.6g}  {label}, {budget:g} passes", flush=True)


if __name__ == "__main__":
    main()
