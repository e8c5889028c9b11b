"""The batched model: B networks of one problem as the rows of a (B, D) matrix, one row a lane.

One lane runs the plain module, bit-equal to a bare loop and as fast. Several lanes run under torch.vmap.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from optbench.core.found_out import changing_buffers
from optbench.core.minibatches import take
from optbench.core.problem import FULL, Batch, Net, Problem, Splits, fresh
from optbench.engine import flops
from optbench.engine.data import splits
from optbench.engine.gradients import MIN_STEPS, Gradients
from optbench.engine.pooling import pooling
from optbench.engine.population import Population
from optbench.engine.randomness import Draw, RandomState, Watched, for_lanes, keyed, seeded
from optbench.engine.sample_layout import known_labels
from optbench.engine.scorer import Scorer


class BatchedModel:
    """B networks of one problem, their parameters the rows of `matrix`.

    It fulfils `core.model.Model`. More than ten public names, for it is all of a network that metering, lane planning
    and the checks use; an optimizer never sees it.
    """

    def __init__(
        self,
        problem: Problem,
        seeds: tuple[int, ...],
        device: str,
        *,
        steps: int = 0,
        eager: bool = False,
        precision: str = FULL,
    ) -> None:
        """seeds: one a lane. steps: gradients that will be asked for, at most. eager: nothing is compiled.

        precision: "float32", or "bf16" for evaluations under torch's autocast; scores are in the network's own.
        """
        self.problem, self._precision = problem, precision
        first, *others = [fresh(problem, seed)[0] for seed in seeds]
        self.module: nn.Module = first.to(device)
        self.leaves = list(self.module.parameters())  # kept: walking the module costs more than a small step
        self.matrix = torch.stack([_flatten(net) for net in [first, *others]]).detach().to(device)  # (B, D)
        self.dim = self.matrix.shape[1]
        self._seeds, self._device = seeds, self.matrix.device.type
        self._shapes = {name: p.shape for name, p in self.module.named_parameters()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self._bind()
        self._changing = changing_buffers(problem) if any(True for _ in first.buffers()) else ()
        # {name: (B, ...)} of several lanes; one lane's are the module's own.
        self._state = self._of_lanes([dict(net.named_buffers()) for net in [first, *others]]) if others else {}
        labels = known_labels(splits(problem, device).train)
        self._pooling = pooling(self.module)
        self._population = Population(self._loss, labels, eager, self._pooling)
        compiles = steps >= MIN_STEPS and not eager
        kind = problem, precision
        self._gradients = Gradients(self._loss, labels, compiles, self._loss_and_state, kind)
        self._draws: dict[int, list[Draw]] = {}  # what a forward on so many samples draws
        self._scorer = Scorer(
            problem, fresh(problem, seeds[0])[0].to(device), self._stand_in, steps >= MIN_STEPS and not eager
        )

    def _of_lanes(self, buffers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """{name: (B, ...)} of the buffers that training changes."""
        return {name: torch.stack([one[name] for one in buffers]).to(self._device) for name in self._changing}

    def _bind(self) -> None:
        """Let the module's parameters be views into row 0."""
        for p, view in zip(self.leaves, self.matrix[0].split(self._sizes), strict=True):
            p.data = view.view(p.shape)

    @property
    def overhead(self) -> float:
        """Seconds that compiling took so far."""
        return self._gradients.overhead

    @property
    def uncaptured(self) -> str:
        """Why a step runs operation by operation on a GPU that could not capture it; empty where there is no reason."""
        return self._gradients.uncaptured

    @property
    def at_once(self) -> dict[str, int]:
        """How many networks gradients and scoring take at a time, as far as they have been done; 0 before."""
        return {"gradients": self._gradients.at_once, "score": self._scorer.at_once}

    @property
    def buffered(self) -> bool:
        """Whether the network has a state that training changes beside its parameters, as batch normalisation has."""
        return bool(self._changing)

    @property
    def state(self) -> dict[str, Tensor]:
        """{buffer: (B, ...)} of what training changes beside the parameters; written to, it is the networks' own."""
        if self._state:
            return self._state
        own = dict(self.module.named_buffers())
        return {name: own[name][None] for name in self._changing}

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """(D,) -> {parameter name: view in the network's shape}."""
        parts = row.split(self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    # Losses

    def values(self, points: Tensor, batch: Batch, index: Tensor | None, step: int) -> Tensor:
        """(B, P, D) -> losses (B, P), without gradients. index: (B, n) samples that each lane sees; None: all.

        In a stochastic network every candidate of a lane has the same draws, keyed by the lane's seed and the step.
        """
        own = self.problem.evaluate(points.flatten(0, 1))
        if own is not None:
            return own.view(points.shape[:2])
        if self.buffered:
            return self._values_one_by_one(points, batch, index, step)
        if index is None and not self.problem.stochastic:
            return self.losses(points.flatten(0, 1), batch).view(points.shape[:2])
        lanes = []
        for lane, candidates in enumerate(points):
            mine = batch if index is None else take(batch, index[lane])
            with self._noise(lane, step):
                lanes.append(self.losses(candidates, mine))
        return torch.stack(lanes)

    def _values_one_by_one(self, points: Tensor, batch: Batch, index: Tensor | None, step: int) -> Tensor:
        """The same for a network whose buffers every forward changes: each candidate finds what the last one left."""
        module = dict(self.module.named_buffers())
        lanes = []
        for lane, candidates in enumerate(points):
            mine = batch if index is None else take(batch, index[lane])
            for name, state in self._state.items():
                module[name].copy_(state[lane])
            with self._noise(lane, step):
                lanes.append(self.losses(candidates, mine))
            for name, state in self._state.items():
                state[lane] = module[name]
        return torch.stack(lanes)

    def losses(self, points: Tensor, batch: Batch) -> Tensor:
        """(P, D) points on one shared batch -> (P,) losses, without gradients."""
        if len(points) > 1 and not self.buffered and self.problem.vmaps:
            return self._population.losses(points, batch, self.problem.stochastic)
        state = RandomState(self._device) if self.problem.stochastic else None
        found = []
        with torch.no_grad(), self._pooling():
            for point in points:
                if state:
                    state.restore()  # every candidate draws the same numbers
                found.append(self.plain(point, batch))
        return torch.stack(found)

    def plain(self, point: Tensor, batch: Batch) -> Tensor:
        """The loss at one (D,) point through the plain module."""
        self.matrix[0].copy_(point)
        return self._evaluated(self.module, batch)

    # Gradients

    def value_and_grad(self, points: Tensor, batch: Batch, index: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """(B, D) -> losses (B,) and gradients (B, D); one lane goes through the plain module."""
        if len(points) > 1:
            return self.gradients(points, batch, index, step)
        self.matrix.copy_(points)
        loss = self.backward(batch, step)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.leaves]
        return loss[None], torch.cat([g.reshape(-1) for g in grads])[None]

    def gradients(
        self, points: Tensor, batch: Batch, index: Tensor | None = None, step: int = 0
    ) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B,) losses and (B, D) gradients. index: (B, n) samples that each lane sees; None: all.

        In a stochastic network each lane draws what it would draw alone, keyed by its seed and the step.
        """
        draws: list[Tensor] = []
        if self.problem.stochastic:
            drawn = self.drawn(batch, index)
            draws = for_lanes(drawn, self._seeds, step, self.problem.dtype, self._device)
        if self._state:
            return self._gradients.with_state(points, self._state, batch, draws, index)
        return self._gradients(points, batch, draws, index)

    def backward(self, batch: Batch, step: int = 0) -> Tensor:
        """Loss of the plain module with its gradients left in `.grad`, as every PyTorch loop does it."""
        for p in self.leaves:
            p.grad = None
        with torch.enable_grad(), self._noise(0, step):
            loss = self._evaluated(self.module, batch)
            loss.backward()
        return loss.detach()

    def graph(self, batch: Batch, step: int = 0) -> tuple[Tensor, list[Tensor | None]]:
        """The loss of the plain module and its gradients, in the order of `leaves`, both with their graphs."""
        with torch.enable_grad(), self._noise(0, step):
            loss = self._evaluated(self.module, batch)
            return loss, list(torch.autograd.grad(loss, self.leaves, create_graph=True, allow_unused=True))

    def loss(self, batch: Batch, step: int = 0) -> Tensor:
        """The loss of the plain module with its graph."""
        with torch.enable_grad(), self._noise(0, step):
            return self._evaluated(self.module, batch)

    def product_flops(self, samples: int) -> int:
        """FLOPs of a Hessian-vector product on so many samples, beyond the gradient's."""
        return flops.product(self.problem, samples, self._device)

    def backward_seen(self, samples: int) -> float:
        """What a backward pass on so many samples counts as where all operations of torch are watched."""
        return flops.backward_seen(self.problem, samples, self._device)

    def drawn(self, batch: Batch, index: Tensor | None) -> list[Draw]:
        """What a stochastic network draws in a forward on so many samples, seen once and kept."""
        samples = len(batch[0]) if index is None else index.shape[1]
        if samples not in self._draws:
            with seeded(0, self._device), torch.no_grad(), Watched() as watched:
                self.problem.loss(self.module, batch if index is None else take(batch, index[0]))
            self._draws[samples] = watched.draws
        return self._draws[samples]

    # Scores

    def score(self, points: Tensor, data: Splits) -> list[dict[str, float]]:
        """For (B, D) points the loss and metrics on every split, in eval mode, with random draws fixed."""
        return self._scorer(points, data, self.module, self._state if len(points) == len(self.matrix) else {})

    def score_start(self) -> float:
        """The training loss of row 0 as it is now, in eval mode."""
        data = splits(self.problem, str(self.matrix.device))
        return self.score(self.matrix[:1], Splits(data.train))[0]["loss"]

    @contextmanager
    def _noise(self, lane: int, step: int) -> Iterator[None]:
        """Key the draws of a stochastic network by seed and step, so that every candidate has the same ones."""
        if not self.problem.stochastic:
            yield
            return
        # Dropout draws from torch's global state, which is left as it was: an optimizer may be using it too.
        with seeded(keyed(self._seeds[lane], step), self._device):
            yield

    def _loss(self, row: Tensor, batch: Batch) -> Tensor:
        return self._evaluated(self._stand_in(row, self.module), batch)

    def _loss_and_state(self, row: Tensor, state: dict[str, Tensor], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        after = {name: value.clone() for name, value in state.items()}  # a forward changes them in place
        return self._evaluated(self._stand_in(row, self.module, after), batch), after

    def _evaluated(self, net: Net, batch: Batch) -> Tensor:
        """The loss as the optimizer sees it."""
        if self._precision == FULL:
            return self.problem.loss(net, batch)
        with torch.autocast(self._device, torch.bfloat16, cache_enabled=False):  # a cache would keep one lane's weights
            return self.problem.loss(InFloat32(net), batch).to(self.problem.dtype)

    def _stand_in(self, row: Tensor, module: nn.Module, state: Mapping[str, Tensor] = MappingProxyType({})) -> Net:
        """The module with the row's parameters and these buffers, callable just like it."""
        tensors = {**self.unflatten(row), **state}

        def net(*args: Any, **kwargs: Any) -> Tensor:
            return functional_call(module, tensors, args, kwargs)

        return net


class InFloat32:
    """A network whose outputs are float32 whatever it computes in: a loss is no place to round."""

    def __init__(self, net: Net) -> None:
        self._net = net

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return tree_map(_in_float32, self._net(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def _in_float32(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x


def _flatten(module: nn.Module) -> Tensor:
    """All parameters in order as one (D,) vector."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])
