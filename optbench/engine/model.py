"""A problem's network as rows of a matrix: one row of D parameters is one network, B rows are B lanes.

One row runs the plain module, bit-equal to a bare loop and as fast. Many rows run under torch.vmap.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.flop_counter import FlopCounterMode

from optbench.core.minibatches import take
from optbench.core.problem import Batch, Net, Problem, Splits, fresh
from optbench.engine.channels import Channels
from optbench.engine.gradients import Gradients
from optbench.engine.population import Columns, Population, RandomState, Widest, known_labels
from optbench.engine.randomness import Draw, Watched, for_lanes, seeded

SCORED = 2**22  # numbers in the widest activation of the networks that are scored at a time


@lru_cache(maxsize=16)
def splits(problem: Problem, device: str) -> Splits:
    """The problem's data on the device, loaded once a process."""
    train, *others = problem.data()
    moved = [part and tuple(tensor.to(device) for tensor in part) for part in others]
    return Splits(tuple(tensor.to(device) for tensor in train), *moved)


@lru_cache(maxsize=256)
def flops(problem: Problem, samples: int, device: str) -> tuple[int, int]:
    """(forward, backward) FLOPs of the loss on `samples` samples, measured once and kept.

    Forward is the loss as `value` runs it, without gradients. Backward is all that a gradient runs on top of it: where
    a loss computes more when gradients are on, as REINFORCE's surrogate does, that belongs to the gradient.

    Where the operations count as none (a function of a parameter tensor), a sample counts as one unit each way:
    the cost of an evaluation, and of a gradient by the cheap gradient principle (Baur & Strassen 1983).
    """
    batch = head(splits(problem, device).train, samples)
    module = fresh(problem, 0)[0].to(device)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            problem.loss(module, batch)
        forward = counter.get_total_flops()
        if "grad" in problem.gives:
            problem.loss(module, batch).backward()
    backward = max(0, counter.get_total_flops() - 2 * forward)
    return (forward, backward) if forward else (samples, samples)


def head(batch: Batch, samples: int) -> Batch:
    """The first rows of every tensor."""
    return tuple(tensor[:samples] for tensor in batch)


class BatchedModel:
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
        labels = known_labels(splits(problem, device).train)
        self._population = Population(self._loss, labels)
        self._gradients = Gradients(self._loss, labels)
        self.traces = False  # whether so many gradients will be asked for that tracing them repays
        self._draws: dict[int, list[Draw]] = {}  # what a forward on so many samples draws
        self._scores_together, self._score_width = True, 0
        # Beside it an idle copy that scores points, so that scoring leaves the network in training as it was.
        self.scorer: nn.Module = fresh(problem, seeds[0])[0].to(device).eval()

    def _bind(self) -> None:
        """Let the module's parameters be views into row 0."""
        views = self.matrix[0].split(self.sizes)
        for p, view in zip(self.leaves, views, strict=True):
            p.data = view.view(p.shape)

    @property
    def overhead(self) -> float:
        """Seconds spent on tracing so far."""
        return self._gradients.overhead

    @property
    def at_once(self) -> dict[str, int]:
        """How many networks gradients and scoring take at a time, as far as they have been done; 0 before."""
        return {"gradients": self._gradients.at_once, "score": self._score_width}

    @property
    def buffered(self) -> bool:
        """Whether the network holds more than its parameters, as batch normalisation does."""
        return next(self.module.buffers(), None) is not None

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """(D,) -> {name: tensor of the network's shape}."""
        parts = row.split(self.sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def stand_in(self, row: Tensor, module: nn.Module | None = None) -> Net:
        """The network (or another module of its kind) with the row's parameters, callable just like the module."""
        parameters = self.unflatten(row)
        called = module or self.module

        def net(*args: Any) -> Tensor:
            return functional_call(called, parameters, args)

        return net

    def _loss(self, row: Tensor, batch: Batch) -> Tensor:
        return self.problem.loss(self.stand_in(row), batch)

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

    def gradients(
        self, points: Tensor, batch: Batch, seeds: Sequence[int], step: int, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B,) losses and (B, D) gradients. index: (B, n) rows of the batch that each network sees, or all.

        In a stochastic network each lane draws what it would draw alone, keyed by its seed and the step.
        """
        draws: list[Tensor] = []
        if self.problem.stochastic:
            listed = self._drawn(batch, index)
            draws = for_lanes(listed, seeds, step, self.problem.dtype, self.matrix.device.type)
        return self._gradients(points, batch, draws, index, self.traces)

    def _drawn(self, batch: Batch, index: Tensor | None) -> list[Draw]:
        """What a forward on so many samples draws, seen once and kept."""
        samples = len(batch[0]) if index is None else index.shape[1]
        if samples not in self._draws:
            with seeded(0, self.matrix.device.type), torch.no_grad(), Watched() as watched:
                self.problem.loss(self.module, batch if index is None else take(batch, index[0]))
            self._draws[samples] = watched.draws
        return self._draws[samples]

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
        return self.score(self.matrix[:1], Splits(data.train))[0]["loss"]

    def score(self, points: Tensor, data: Splits) -> list[dict[str, float]]:
        """For (B, D) points the loss and metrics on every split, in eval mode, with random draws fixed."""
        for mine, theirs in zip(self.scorer.buffers(), self.module.buffers(), strict=True):
            mine.copy_(theirs)
        if len(points) > 1 and self.problem.vmaps and self._scores_together:
            try:
                return self._score_together(points, data)
            except (
                RuntimeError,
                TypeError,
                ValueError,
            ):  # a metric that vmap cannot batch
                self._scores_together = False
        return [self._score_alone(point, data) for point in points]

    def _score_alone(self, point: Tensor, data: Splits) -> dict[str, float]:
        for p, value in zip(self.scorer.parameters(), point.split(self.sizes), strict=True):
            p.data.copy_(value.view(p.shape))
        return {name: float(torch.as_tensor(value).detach()) for name, value in self._scores(self.scorer, data).items()}

    def _score_together(self, points: Tensor, data: Splits) -> list[dict[str, float]]:
        """In blocks, so that a wide group takes no more memory to score than a few networks."""
        if not self._score_width:
            with Widest() as widest:
                self._scores(self.scorer, Splits(data.train))
            self._score_width = max(1, SCORED // widest.numbers)
        found: list[dict[str, float]] = []
        for block in points.split(self._score_width):
            with Columns(), Channels():
                scores = vmap(lambda row: self._scores(self.stand_in(row, self.scorer), data), randomness="same")(block)
            columns = {name: values.tolist() for name, values in scores.items()}
            found += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return found

    def _scores(self, net: Net, data: Splits) -> dict[str, Tensor]:
        if self.problem.stochastic:
            torch.manual_seed(0)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, part in data._asdict().items():
                if part is None:
                    continue
                found["loss" if name == "train" else f"{name}_loss"] = self.problem.loss(net, part)
                extra = self.problem.metrics(net, part)
                found.update({f"{name}_{metric}": value for metric, value in extra.items()})
        return found


def rebind(parameters: Iterable[nn.Parameter], views: Iterable[Tensor]) -> None:
    """Copy parameters that have left their views back into them, and let them be views again."""
    for p, view in zip(parameters, views, strict=True):
        if p.data_ptr() != view.data_ptr():
            view.copy_(p.detach().view(view.shape))
            p.data = view


def flatten(module: nn.Module) -> Tensor:
    """All parameters in order as one (D,) vector."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])
