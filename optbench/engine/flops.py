"""What a loss and its gradient cost, counted from the operations that torch runs."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.meter import Costs
from optbench.core.problem import Problem, dimension, fresh
from optbench.core.watching import seen
from optbench.engine.data import head, splits

MAX_COUNTED = 64  # samples that the FLOPs of a large network are counted on
LARGE = 10**8  # samples times parameters; no problem of the package at its usual size is


@lru_cache(maxsize=256)
def flops(problem: Problem, samples: int, device: str) -> tuple[int, int]:
    """(forward, backward) FLOPs of the loss on so many samples, measured once a process.

    Forward is the loss as `value` runs it, without gradients. Backward is all that a gradient runs on top of it: where
    a loss computes more when gradients are on, as REINFORCE's surrogate does, that belongs to the gradient.

    Where the operations count as none (a function of a parameter tensor), a sample counts as one unit each way: the
    cost of an evaluation, and of a gradient as many as the problem says (`Problem.gradient_evaluations`).

    Of large networks on many samples it goes on in a line from two counts, for memory.
    """
    if samples > MAX_COUNTED and samples * dimension(problem) > LARGE:
        few, many = (flops(problem, count, device) for count in (MAX_COUNTED // 2, MAX_COUNTED))
        more = (samples - MAX_COUNTED) / (MAX_COUNTED // 2)
        forward, backward = (round(b + more * (b - a)) for a, b in zip(few, many, strict=True))
        return forward, backward
    batch = head(splits(problem, device).train, samples)
    module = fresh(problem, 0)[0].to(device)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            problem.loss(module, batch)
        forward = counter.get_total_flops()
        if "grad" in problem.gives:
            problem.loss(module, batch).backward()
    backward = max(0, counter.get_total_flops() - 2 * forward)
    return (forward, backward) if forward else (samples, samples * problem.gradient_evaluations)


@lru_cache(maxsize=256)
def product(problem: Problem, samples: int, device: str) -> int:
    """FLOPs of a Hessian-vector product on so many samples, beyond those of the gradient; measured once a process.

    Where operations count as none it costs a gradient: one unit a sample for each way (Baur & Strassen 1983). Raises
    RuntimeError for a loss without a second derivative.
    """
    batch = head(splits(problem, device).train, samples)
    module = fresh(problem, 0)[0].to(device)
    with torch.random.fork_rng(), torch.enable_grad():
        leaves = list(module.parameters())
        first = torch.autograd.grad(problem.loss(module, batch), leaves, create_graph=True, allow_unused=True)
        known = [gradient for gradient in first if gradient is not None and gradient.requires_grad]
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(known, leaves, [torch.ones_like(g) for g in known], allow_unused=True)
    return counter.get_total_flops() or 2 * samples


@lru_cache(maxsize=256)
def backward_seen(problem: Problem, samples: int, device: str) -> float:
    """What a backward pass on so many samples counts as where all operations of torch are watched."""
    batch = head(splits(problem, device).train, samples)
    module = fresh(problem, 0)[0].to(device)
    with torch.random.fork_rng(), torch.enable_grad():
        return seen(problem.loss(module, batch).backward)


def costs(problem: Problem, batch: int | None, device: str) -> Costs:
    """What a trial pays. batch: samples of a minibatch; None, or more than there are: the full batch."""
    samples = len(splits(problem, device).train[0])
    size = samples if batch is None else min(batch, samples)
    one_pass = flops(problem, samples, device)[0]
    return Costs(samples, one_pass, size, *flops(problem, size, device))
