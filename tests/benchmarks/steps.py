"""One step of Adam on minibatches: of a bare PyTorch loop, and of a lane group. What the benchmarks time."""

from __future__ import annotations

from collections.abc import Callable

import torch

from optbench.core.minibatches import batches
from optbench.core.problem import Problem, fresh
from optbench.engine.metered import metered
from optbench.optimizers.gradient.torch_optim import TorchOptim

BATCH = 128
WARM = 60  # steps before anything is timed
ADAM = TorchOptim(torch.optim.Adam, {"lr": 1e-3})


def bare(problem: Problem, device: str = "cpu") -> Callable[[], None]:
    """A step as everyone writes it, the data on the device; warm."""
    net = fresh(problem, 0)[0].to(device)
    x, y = (tensor.to(device) for tensor in problem.data().train)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    stream = batches(len(x), BATCH, 0)

    def step() -> None:
        index = next(stream).to(device)
        optimizer.zero_grad()
        problem.loss(net, (x[index], y[index])).backward()
        optimizer.step()

    return _warm(step)


def grouped(problem: Problem, lanes: int, device: str = "cpu") -> Callable[[], None]:
    """A step of so many lanes, each with a seed of its own; warm and traced."""
    f = metered(problem, range(lanes), 1e6, batch=BATCH, device=device)
    settings = ADAM.for_rows if lanes > 1 else ADAM.settings
    optimizer = ADAM.cls(f.parameters(), **(settings or {}))

    def step() -> None:
        f.next_step()
        optimizer.step(f.closure)  # type: ignore[arg-type]

    return _warm(step)


def _warm(step: Callable[[], None]) -> Callable[[], None]:
    for _ in range(WARM):
        step()
    return step
