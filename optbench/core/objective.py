"""The only door to a problem. It counts, clocks, records and stops; an optimizer does none of that.

Letters: B lanes, P candidates, D parameters. Counts come from shapes, so metering needs no device synchronisation;
losses become Python numbers only at log-spaced checkpoints, with the clock standing still.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.minibatches import batch_blocks, batches, take
from optbench.core.problem import Batch, Problem, fresh, generator
from optbench.core.scoring import Point, Scoring
from optbench.engine.gradients import REPAYS
from optbench.engine.model import BatchedModel, flops, rebind, splits
from optbench.engine.randomness import keyed, seeded

AHEAD = 32  # steps whose batches are drawn in one go
Seen = tuple[
    Batch, Tensor | None
]  # samples, and the rows of them that each lane sees, (B, n), where it does not see all


class Stop(BaseException):
    """The budget is spent. Not an Exception, so that no `except Exception` on the way swallows it."""


class Inapplicable(Exception):
    """This optimizer cannot train this problem; the text says why and what would help."""


class CertificateError(ValueError):
    """A certificate that a forward pass of the network does not bear out."""


@dataclass(frozen=True)
class Structure:
    """What an exact method may look at: the pieces of the problem, and a network that holds no weights."""

    network: nn.Module  # on the meta device: its layers can be read, but not run
    inputs: Tensor  # (N, ...)
    targets: Tensor  # (N, ...)
    loss: str
    full_batch: bool
    stochastic: bool
    grid: tuple[float, ...] | None  # the weight grid that the problem states, if any

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """{parameter name: tensor} -> the (D,) row in the network's own order. Raises KeyError, ValueError."""
        parts = []
        for name, p in self.network.named_parameters():
            if tensors[name].shape != p.shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, the network's {tuple(p.shape)}")
            parts.append(tensors[name].reshape(-1))
        return torch.cat(parts)


class Objective:
    """B trials of one problem, metered. Work past the budget raises Stop, and so does every later call."""

    def __init__(
        self,
        problem: Problem,
        seeds: Sequence[int],
        passes: float,
        *,
        batch: int | None = None,
        device: str = "cpu",
        on_point: Callable[[int, Point], None] | None = None,
    ) -> None:
        self.lanes = len(seeds)
        self.device = device
        self.refused = 0  # calls after the end: an optimizer that goes on has swallowed Stop
        self.certificates: list[dict[str, Any] | None] = [None] * self.lanes
        self._owner = os.getpid(), get_ident()
        self._problem, self._seeds = problem, tuple(seeds)
        self._model = BatchedModel(problem, self._seeds, device)
        self.dim = self._model.dim
        self._data = splits(problem, device)
        samples = len(self._data.train[0])
        self._full = batch is None or batch >= samples
        self._samples = samples if batch is None else min(batch, samples)
        self._same_seed = len(set(self._seeds)) == 1  # lanes of one seed see one batch
        seen = () if self._full else self._seeds[:1] if self._same_seed else self._seeds
        self._blocks = [batch_blocks(samples, self._samples, seed, AHEAD) for seed in seen]
        self._streams = [batches(samples, self._samples, seed) for seed in self._seeds if not self._full]
        self._ahead: Iterator[Tensor] = iter(())  # batch indices of the next steps, already on the device
        self._own: dict[int, Tensor] = {}  # batch indices of lanes that step on their own
        self._generators = [generator(seed, "optimizer", device) for seed in self._seeds]
        self._held: Seen | None = None  # what `next_step` holds on to
        self._step = 0

        self._pass_units = flops(problem, samples, device)[0]
        self._forward_units, self._backward_units = flops(problem, self._samples, device)
        self._units = self.forward = self.backward = self.evaluations = 0
        self._limit = round(passes * self._pass_units)
        self._model.traces = self._limit >= REPAYS * (self._forward_units + self._backward_units)
        self._scoring = Scoring(self._model, self._data, self._limit, self._pass_units, on_point)

        self._groups: list[tuple[slice, nn.Parameter]] = []
        self._lists: list[tuple[int, list[nn.Parameter]]] = []
        self._live = False  # the parameters in training are the point to score
        self._best = torch.full((self.lanes,), math.inf, device=device, dtype=problem.dtype)  # (B,)
        self._point = self._model.matrix.clone()  # (B, D)
        self._advised = False  # the optimizer itself names the point to score
        self._nonfinite = torch.zeros(self.lanes, dtype=torch.int64, device=device)
        self._ended = self._finished = False
        self.warmup = 0.0  # seconds spent on tracing, which are no part of training
        self._seconds = 0.0
        self._score()
        self.start_clock()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an objective cannot be copied or sent elsewhere: the work of the copy would not be counted")

    # What an optimizer reads

    @property
    def passes(self) -> float:
        """Work so far, in forward passes over the training set."""
        return self._units / self._pass_units

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1: for schedules."""
        return min(1.0, self._units / self._limit) if self._limit else 1.0

    @property
    def curves(self) -> list[list[Point]]:
        """Scored points of every lane, once it is over: before that, a score would be an evaluation for nothing."""
        if not self._finished:
            raise RuntimeError("curves can be read after finish()")
        return self._scoring.curves

    @property
    def diverged(self) -> list[Point | None]:
        """The point at which a lane was lost, or None, a lane each."""
        return self._scoring.diverged

    @property
    def grid(self) -> tuple[float, ...] | None:
        """The values that the problem's weights may take, where it states a weight grid."""
        found: tuple[float, ...] | None = getattr(self._problem, "grid", None)
        return found

    @property
    def dtype(self) -> torch.dtype:
        return self._problem.dtype

    @property
    def seconds(self) -> float:
        """The optimizer's own clock: scoring excluded."""
        return self._seconds + (0.0 if self._ended else perf_counter() - self._since)

    @property
    def flops(self) -> int:
        return self._units

    @property
    def nonfinite(self) -> list[int]:
        return [int(count) for count in self._nonfinite]

    def start(self, points: int | None = None) -> Tensor:
        """(B, D), or (B, points, D): independent draws of the network's own initialisation. Costs nothing."""
        rows = []
        for seed in self._seeds:
            nets = fresh(self._problem, seed, points or 1)
            rows.append(torch.stack([torch.cat([p.detach().reshape(-1) for p in net.parameters()]) for net in nets]))
        drawn = torch.stack(rows).to(self.device)
        return drawn if points else drawn[:, 0]

    def rand(self, *shape: int) -> Tensor:
        """(B, *shape) uniform numbers in [0, 1), each lane from a generator of its own."""
        return self._draw(torch.rand, shape)

    def randn(self, *shape: int) -> Tensor:
        """(B, *shape) standard normal numbers, each lane from a generator of its own."""
        return self._draw(torch.randn, shape)

    def _draw(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        options = {"dtype": self.dtype, "device": self.device}
        return torch.stack([draw(shape, generator=g, **options) for g in self._generators])

    # The doors

    def value(self, x: Tensor) -> Tensor:
        """Losses (B, P) at points (B, P, D), every candidate of a lane on the same minibatch.

        A loss that is not finite comes back as infinity and is counted. When the budget covers only some of the
        candidates, those are evaluated, and then Stop is raised.
        """
        self._check(x, (self.lanes, None, self.dim))
        self._enter()
        wanted, cost = x.shape[1], self._forward_units
        count = min(wanted, (self._limit - self._units) // cost)
        if count < 1:
            self._stop()
        seen = self._seen()
        try:
            with self._spared():
                losses = self._values(x[:, :count].detach(), *seen)
        finally:  # work that ends in an exception is work too
            self._spend(count * self._samples, 0, count * cost, count)
        finite = losses.isfinite()
        self._nonfinite += (~finite).sum(1)
        losses = torch.where(finite, losses, math.inf)
        self._remember(x, losses)
        if count < wanted:
            self._stop()
        return losses

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and gradients (B, D) at points (B, D)."""
        self._check(x, (self.lanes, self.dim))
        self._enter()
        self._afford(self._forward_units + self._backward_units)
        seen = self._seen()
        try:
            with self._spared():
                losses, gradients = self._gradients(x.detach(), *seen)
        finally:
            self._spend(self._samples, self._samples, self._forward_units + self._backward_units, 1)
        self._nonfinite += ~losses.isfinite()
        self._remember(x[:, None], torch.where(losses.isfinite(), losses, math.inf)[:, None])
        return losses, gradients

    def parameters(self, rows: slice = slice(None)) -> list[nn.Parameter]:
        """What a torch optimizer trains. One lane: the network's own parameters, in its own shapes. More lanes: one
        (rows, D) matrix, so that an optimizer that works element by element trains every lane at once; different
        settings are param groups over different rows.
        """
        self._live = True
        if self.lanes == 1:
            return list(self._model.leaves)
        matrix = nn.Parameter(self._model.matrix[rows])
        self._groups.append((rows, matrix))
        return [matrix]

    def parameters_of(self, lane: int) -> list[nn.Parameter]:
        """One lane's parameters in the network's own shapes, for optimizers that look at whole layers."""
        self._live = True
        if self.lanes == 1:
            return list(self._model.leaves)
        parameters = [nn.Parameter(view) for view in self._model.unflatten(self._model.matrix[lane]).values()]
        self._lists.append((lane, parameters))
        return parameters

    def closure(self) -> Tensor:
        """Loss of the parameters in training, (B,) or a scalar for one lane, with their gradients left in `.grad`.

        What torch's `optimizer.step(closure)` asks for. Calls between two `next_step` see one minibatch.
        """
        self._enter()
        cost = self._forward_units + self._backward_units
        self._afford(cost)
        seen = self._seen()
        try:
            return self._trained(*seen)
        finally:
            self._spend(self._samples, self._samples, cost, 1)

    def _trained(self, batch: Batch, index: Tensor | None) -> Tensor:
        """Losses of the parameters in training, their gradients left in `.grad`."""
        if self.lanes == 1:
            with torch.enable_grad(), self._noise():
                return self._model.backward(batch)
        self._collect()
        for _, matrix in self._groups:
            matrix.grad = None  # its memory, still in the cache, is where the next one goes
        loss, gradients = self._gradients(self._model.matrix, batch, index)
        for rows, matrix in self._groups:
            matrix.grad = gradients[rows]
        for lane, parameters in self._lists:
            views = self._model.unflatten(gradients[lane]).values()
            for p, view in zip(parameters, views, strict=True):
                p.grad = view
        return loss

    def _collect(self) -> None:
        """Bring the matrix up to date where an optimizer gave a parameter new memory (`p.data = ...`), as some do."""
        if self.lanes == 1:
            rebind(self._model.leaves, self._model.unflatten(self._model.matrix[0]).values())
        for rows, matrix in self._groups:
            rebind([matrix], [self._model.matrix[rows]])
        for lane, parameters in self._lists:
            rebind(parameters, self._model.unflatten(self._model.matrix[lane]).values())

    @contextmanager
    def _spared(self) -> Iterator[None]:
        """Evaluate another point through the plain module, and leave the parameters in training as they are."""
        if not self._live or self.lanes > 1:
            yield
            return
        self._collect()
        kept = self._model.matrix.clone()
        try:
            yield
        finally:
            self._model.matrix.copy_(kept)

    def next_step(self, lane: int | None = None) -> None:
        """Draw a minibatch and hold it until the next call: for steps that evaluate several times, as LBFGS does.

        lane: only this lane goes on, for lanes whose steps take different numbers of evaluations.
        """
        if self._ended or (lane is not None and self._full):
            return
        if lane is None:
            self._held = self._next_batch()
        else:
            self._own[lane], self._held = next(self._streams[lane]), None

    def charge(self, forward: int = 0, backward: int = 0) -> None:
        """Pay for work that an exact method does on its own, in samples, before it does it. Raises Stop."""
        self._enter()
        if forward < 0 or backward < 0:
            raise ValueError(f"a charge of {forward} samples forward and {backward} backward: nothing is given back")
        unit = self._pass_units / len(self._data.train[0])
        ratio = self._backward_units / self._forward_units
        cost = round(unit * (forward + ratio * backward))
        self._afford(cost)
        self._spend(forward, backward, cost, 0)

    def structure(self) -> Structure:
        """The problem's pieces, for methods that declare `needs = "exact"`. Raises Inapplicable where it has none."""
        if "exact" not in self._problem.gives:
            raise Inapplicable("this problem does not open its structure to exact methods")
        inputs, targets = self._data.train[0].clone(), self._data.train[1].clone()  # what is scored stays as it is
        network = copy.deepcopy(self._model.module).to("meta")
        return Structure(
            network=network,
            inputs=inputs,
            targets=targets,
            loss=self._problem.loss_name,
            full_batch=self._full,
            stochastic=self._problem.stochastic,
            grid=self.grid,
        )

    def recommend(self, x: Tensor) -> None:
        """Score these points (B, D) from now on: for methods whose answer is not the best point they evaluated."""
        self._check(x, (self.lanes, self.dim))
        self._point, self._advised = x.detach().clone(), True

    def certify(self, x: Tensor, lower: float, upper: float, scope: str) -> None:
        """Claim, for the only lane, that x (1, D) has loss `upper` and that nothing in `scope` is below `lower`.

        The loss is recomputed by a forward pass of the network, which is charged. Raises CertificateError where it
        differs by more than 1e-6 (float32) or 1e-12 (float64), relative to max(1, |upper|), and Stop once the budget is
        spent: one check may go beyond it.
        """
        self._check(x, (1, self.dim))
        if not math.isfinite(upper):
            raise CertificateError(f"certified {upper!r}, which is no loss")
        if self._ended:
            self.refused += 1
            raise Stop
        self.recommend(x)
        with self._paused(), torch.no_grad():
            loss = self._model.score(x, self._data._replace(valid=None, test=None))[0]["loss"]
        samples = len(self._data.train[0])
        self._spend(samples, 0, self._pass_units, 1)
        if self._units >= self._limit:
            self._end()
        tolerance = (1e-6 if self.dtype == torch.float32 else 1e-12) * max(1.0, abs(upper))
        if not abs(loss - upper) <= tolerance:
            raise CertificateError(f"certified {upper!r}, but the network's forward pass gives {loss!r}")
        if not lower <= upper + tolerance:
            raise CertificateError(f"the lower bound {lower!r} is above the upper bound {upper!r}")
        exact = upper - lower <= tolerance
        self.certificates[0] = {"lower": lower, "upper": upper, "scope": scope, "exact": exact}

    # How the runner begins and ends it

    def start_clock(self) -> None:
        """Let the clock run from now on: what came before is no training."""
        self._since = perf_counter()

    def finish(self) -> None:
        """Close the door and score the final point. Calling it twice is harmless."""
        if self._finished:
            return
        self._end()
        self._finished = True
        self._scoring.forget(self.passes)
        self._score(final=True)

    def _end(self) -> None:
        if not self._ended:
            self._synchronise()
            self._seconds += perf_counter() - self._since
            self._ended = True

    # The meter

    def _enter(self) -> None:
        if self._owner != (os.getpid(), get_ident()):
            raise RuntimeError("an objective answers its own process and thread alone: others would not be counted")
        if self._ended:
            self.refused += 1
            raise Stop
        if self._scoring.due(self._units):
            with self._paused():
                self._score()
            if all(self.diverged):
                self._stop()

    def _afford(self, cost: int) -> None:
        if self._units + cost > self._limit:
            self._stop()

    def _stop(self) -> None:
        self._end()
        raise Stop

    def _spend(self, forward: int, backward: int, units: int, evaluations: int) -> None:
        self.forward += forward
        self.backward += backward
        self._units += units
        self.evaluations += evaluations
        self._step += 1

    def _synchronise(self) -> None:
        """Wait for the device, so that the clock covers what was asked of it; at checkpoints and nowhere else."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Let the clock stand still."""
        self._synchronise()
        self._seconds += perf_counter() - self._since
        try:
            yield
        finally:
            self._since = perf_counter()

    def _seen(self) -> Seen:
        """The minibatch of this evaluation: the held one, or the next."""
        if self._held is None and self._own:
            index = torch.stack([self._own[lane] for lane in range(self.lanes)])
            self._held = self._rows_of(index.to(self.device))
        return self._held or self._next_batch()

    def _next_batch(self) -> Seen:
        if self._full:
            return self._data.train, None
        index = next(self._ahead, None)
        if index is None:
            self._ahead = self._draw_ahead()
            index = next(self._ahead)
        return self._rows_of(index)

    def _rows_of(self, index: Tensor) -> Seen:
        """Where all lanes see the same rows, those rows; else it is left to each lane to look them up."""
        if self.lanes == 1 or index.ndim == 1:
            return take(self._data.train, index.reshape(-1)), None
        return self._data.train, index

    def _draw_ahead(self) -> Iterator[Tensor]:
        """Batch indices of the next steps, (n,) where all lanes share a seed, else (B, n), moved in one go."""
        block = torch.stack([next(stream) for stream in self._blocks], 1).to(self.device)  # (steps, B, n)
        return iter((block[:, 0] if self._same_seed else block).unbind())

    @contextmanager
    def _noise(self, lane: int = 0) -> Iterator[None]:
        """Key the draws of a stochastic network by seed and step, so that every candidate has the same ones."""
        if not self._problem.stochastic:
            yield
            return
        # Dropout draws from torch's global state, which is left as it was: an optimizer may be using it too.
        with seeded(keyed(self._seeds[lane], self._step), self.device):
            yield

    def _values(self, x: Tensor, batch: Batch, index: Tensor | None) -> Tensor:
        if index is None and not self._problem.stochastic:
            return self._model.losses(x.flatten(0, 1), batch).view(x.shape[:2])
        lanes = []
        for lane in range(self.lanes):
            mine = batch if index is None else take(batch, index[lane])
            with self._noise(lane):
                lanes.append(self._model.losses(x[lane], mine))
        return torch.stack(lanes)

    def _gradients(self, x: Tensor, batch: Batch, index: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.lanes > 1:
            before = self._model.overhead
            found = self._model.gradients(x, batch, self._seeds, self._step, index)
            self.warmup += self._model.overhead - before
            self._seconds -= self._model.overhead - before
            return found
        with torch.enable_grad(), self._noise():
            self._model.matrix.copy_(x)
            loss = self._model.backward(batch)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._model.leaves]
        return loss[None], torch.cat([g.reshape(-1) for g in grads])[None]

    def _remember(self, x: Tensor, losses: Tensor) -> None:
        """Keep the point to score: the best so far on the full batch, the best of the latest step on minibatches."""
        if self._advised or self._live:
            return
        lowest, index = losses.min(1)  # (B,)
        found = x[torch.arange(self.lanes, device=self.device), index].detach()  # (B, D)
        better = lowest < self._best if self._full else lowest < math.inf
        self._best = torch.where(better, lowest, self._best)
        self._point = torch.where(better[:, None], found, self._point)

    def _score(self, final: bool = False) -> None:
        if self._live:
            self._collect()
        points = self._model.matrix if self._live and not self._advised else self._point
        at = {
            "passes": self.passes,
            "forward": self.forward,
            "backward": self.backward,
            "seconds": self._seconds,
        }
        spent: Point = {"evaluations": self.evaluations, "units": self._units}
        # A population may still find a finite point; parameters in training that are lost stay lost.
        self._scoring.add(points, at, spent, loses=(self._live or final) and self.forward > 0)

    def _check(self, x: Tensor, shape: tuple[int | None, ...]) -> None:
        fits = x.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, x.shape, strict=False))
        if not fits or x.shape.numel() == 0:
            letters = tuple("P" if size is None else size for size in shape)
            raise ValueError(f"points of shape {tuple(x.shape)}, this objective takes {letters}".replace("'", ""))
