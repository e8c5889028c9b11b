"""A problem's network as rows of a matrix: one row of D parameters is one network, B rows are B lanes.

One row runs the plain module, bit-equal to a bare loop and as fast. Many rows run under torch.vmap.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.utils.flop_counter import FlopCounterMode

from optbench.population import Population, RandomState
from optbench.problem import Batch, Net, Problem, Splits, fresh


@lru_cache(maxsize=16)
def splits(problem: Problem, device: str) -> Splits:
    """The problem's data on the device, loaded once a process."""
    train, *others = problem.data()
    moved = [part and tuple(tensor.to(device) for tensor in part) for part in others]
    return Splits(tuple(tensor.to(device) for tensor in train), *moved)


@lru_cache(maxsize=256)
def flops(problem: Problem, samples: int, device: str) -> tuple[int, int]:
    """(forward, backward) FLOPs of the loss on `samples` samples, measured once and kept.

    Where the operations count as none (a function of a parameter tensor), a sample counts as one unit each way:
    the cost of an evaluation, and of a gradient by the cheap gradient principle (Baur & Strassen 1983).
    """
    batch = head(splits(problem, device).train, samples)
    module = fresh(problem, 0)[0].to(device)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        loss = problem.loss(module, batch)
        forward = counter.get_total_flops()
        if "grad" in problem.gives:
            loss.backward()
        backward = counter.get_total_flops() - forward
    return (forward, backward) if forward else (samples, samples)


def head(batch: Batch, samples: int) -> Batch:
    """The first rows of every tensor."""
    return tuple(tensor[:samples] for tensor in batch)


def gather(batch: Batch, index: Tensor) -> Batch:
    """The rows named by an index of any shape."""
    return tuple(tensor[index] for tensor in batch)


class Rows:
    """B networks of one problem, their parameters the rows of `matrix`, shape (B, D)."""

    def __init__(self, problem: Problem, seeds: tuple[int, ...], device: str) -> None:
        self.problem = problem
        first, *others = [fresh(problem, seed)[0] for seed in seeds]
        self.module: nn.Module = first.to(device)
        self.leaves = list(self.module.parameters())  # kept: walking the module costs more than a small step
        self.shapes = {name: p.shape for name, p in self.module.named_parameters()}
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.dim = sum(self.sizes)
        self.matrix = torch.stack([flatten(net) for net in [first, *others]]).detach().to(device)
        self._bind()
        self._population = Population(lambda row, batch: problem.loss(self.stand_in(row), batch))
        # Beside it an idle copy that scores points, so that scoring leaves the network in training as it was.
        self.scorer: nn.Module = fresh(problem, seeds[0])[0].to(device).eval()

    def _bind(self) -> None:
        """Let the module's parameters be views into row 0."""
        views = self.matrix[0].split(self.sizes)
        for p, view in zip(self.leaves, views, strict=True):
            p.data = view.view(p.shape)

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """(D,) -> {name: tensor of the network's shape}."""
        parts = row.split(self.sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def stand_in(self, row: Tensor) -> Net:
        """The network with the row's parameters, callable just like the module."""
        parameters = self.unflatten(row)

        def net(*args: Any) -> Tensor:
            return functional_call(self.module, parameters, args)

        return net

    def losses(self, points: Tensor, batch: Batch) -> Tensor:
        """(P, D) points on one shared batch -> (P,) losses, without gradients."""
        if len(points) > 1 and self.problem.vmaps:
            return self._population.losses(points, batch, self.problem.stochastic)
        state = RandomState(self.matrix.device.type) if self.problem.stochastic else None
        found = []
        with torch.no_grad():
            for point in points:
                if state:
                    state.restore()  # every candidate draws the same numbers
                found.append(self.plain(point, batch))
        return torch.stack(found)

    def plain(self, point: Tensor, batch: Batch) -> Tensor:
        """The loss at one (D,) point through the plain module."""
        self.matrix[0].copy_(point)
        return self.problem.loss(self.module, batch)

    def gradients(self, points: Tensor, batch: Batch, per_lane: bool) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B,) losses and (B, D) gradients; with `per_lane` every tensor of the batch has a lane axis."""

        def loss(row: Tensor, *rows: Tensor) -> Tensor:
            return self.problem.loss(self.stand_in(row), rows)

        axes = (0, *([0 if per_lane else None] * len(batch)))
        gradient, value = vmap(grad_and_value(loss), in_dims=axes)(points, *batch)
        return value, gradient

    def backward(self, batch: Batch) -> Tensor:
        """Loss of the plain module with its gradients left in `.grad`, as every PyTorch loop does it."""
        for p in self.leaves:
            p.grad = None
        loss = self.problem.loss(self.module, batch)
        loss.backward()
        return loss.detach()

    def score_start(self) -> float:
        """The training loss of row 0 as it stands, in eval mode."""
        data = splits(self.problem, str(self.matrix.device))
        return self.score(self.matrix[0], Splits(data.train))["loss"]

    def score(self, point: Tensor, data: Splits) -> dict[str, float]:
        """Loss and metrics of a (D,) point on every split, in eval mode, with random draws fixed."""
        for p, value in zip(self.scorer.parameters(), point.split(self.sizes), strict=True):
            p.data.copy_(value.view(p.shape))
        for mine, theirs in zip(self.scorer.buffers(), self.module.buffers(), strict=True):
            mine.copy_(theirs)
        if self.problem.stochastic:
            torch.manual_seed(0)
        found: dict[str, float] = {}
        with torch.no_grad():
            for name, part in data._asdict().items():
                if part is None:
                    continue
                key = "loss" if name == "train" else f"{name}_loss"
                found[key] = float(self.problem.loss(self.scorer, part))
                extra = self.problem.metrics(self.scorer, part)
                found.update({f"{name}_{metric}": float(value) for metric, value in extra.items()})
        return found


def flatten(module: nn.Module) -> Tensor:
    """All parameters in order as one (D,) vector."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])
