"""Measure how low a training loss gets: the source of "best known" values. A problem's file says at what budget.

    python scripts/measure_best_known.py NAME [PASSES [SEEDS]]

Adam (cosine schedule, three learning rates) and full-batch L-BFGS (not for reinforcement) as plain PyTorch loops.
Prints the lowest training loss of each, lowest first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch

from optbench.core.minibatches import batches
from optbench.core.problem import Problem, fresh
from optbench.registry.catalog import Catalog

STEP_PASSES = 2.6  # of a forward and a backward evaluation, roughly


def adam(problem: Problem, lr: float, seed: int, passes: float) -> float:
    """Training loss after Adam with a cosine schedule, in eval mode; the lowest of twenty measurements on the way."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a problem, with settings in brackets")
    parser.add_argument("passes", nargs="?", type=float, help="the budget (default: ten times the problem's own)")
    parser.add_argument("seeds", nargs="?", type=int, default=2, help="how many (default: 2)")
    given = parser.parse_args()
    subject = Catalog().problem(given.name)
    budget = given.passes or 10 * subject.passes
    for label, loss in sorted(attempts(subject, budget, given.seeds), key=lambda pair: pair[1]):
        print(f"{given.name}  {loss:.6g}  {label}, {budget:g} passes", flush=True)
