"""What points score on every split, in eval mode, without touching the network in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from itertools import islice
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_leaves

from optbench.core.problem import Net, Problem, Splits
from optbench.engine.blocks import even, widest_activation
from optbench.engine.channel_layout import ChannelLayout
from optbench.engine.compile import compile_step, shared
from optbench.engine.data import head
from optbench.engine.pooling import pooling
from optbench.engine.sample_layout import SampleLayout

# numbers in the widest activations of the networks that are scored at a time
MAX_SCORED = {"cpu": 2**21, "cuda": 2**26}
# such numbers in all scores so far from which on scoring is traced: that takes 0.1 to 0.3 s, and saves a third
MIN_SCORED = 2**24


class Scorer:
    """An idle copy of the network that points are scored with."""

    def __init__(
        self, problem: Problem, network: nn.Module, stand_in: Callable[..., Net], compiles: bool = False
    ) -> None:
        """stand_in: a (D,) row, a module and {buffer: value} -> the module with these, under vmap too.

        compiles: what is scored again and again may be traced.
        """
        self.at_once = 0  # networks that were scored at a time; 0 before the first
        self._problem, self._network, self._stand_in = problem, network.eval(), stand_in
        self._pooling = pooling(network)
        self._sizes = [p.numel() for p in network.parameters()]
        self._together = True  # as far as is known
        self._compiles, self._scored = compiles, 0  # numbers in the widest activations of all scores so far
        self._widest = self._size = 0  # of one network, and networks in a block; 0 before they are known
        self._compiled: Callable[..., Tensor] | None = None
        self._names: list[str] = []  # of the scores, as a block gives them

    def __call__(
        self, points: Tensor, data: Splits, trained: nn.Module, state: Mapping[str, Tensor]
    ) -> list[dict[str, float]]:
        """For (B, D) points the loss and metrics on every split, with random draws fixed.

        trained: the module whose buffers, as batch normalisation has them, are scored too. state: {name: (B, ...)} of
        those that each point has of its own.
        """
        for mine, theirs in zip(self._network.buffers(), trained.buffers(), strict=True):
            mine.copy_(theirs)
        if len(points) > 1 and self._together and self._problem.vmaps:
            try:
                return self._score_together(points, data, state)
            except (RuntimeError, TypeError, ValueError):  # a metric that vmap cannot batch
                self._together = False
        own = dict(self._network.named_buffers())
        found = []
        for place, point in enumerate(points):
            for name, values in state.items():
                own[name].copy_(values[place])
            found.append(self._score_one(point, data))
        return found

    def _score_one(self, point: Tensor, data: Splits) -> dict[str, float]:
        for p, value in zip(self._network.parameters(), point.split(self._sizes), strict=True):
            p.data.copy_(value.view(p.shape))
        with self._pooling():
            scores = self._scores(self._network, data)
        return {name: float(torch.as_tensor(value).detach()) for name, value in scores.items()}

    def _score_together(self, points: Tensor, data: Splits, state: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """In blocks, so that a wide group takes no more memory to score than a few networks."""
        if not self._widest:
            self._widest = widest_activation(lambda: self._scores(self._network, Splits(data.train)))
            self.at_once = max(1, MAX_SCORED[points.device.type] // self._widest)
            self._size = even(len(points), self.at_once)
        self._scored += len(points) * self._widest
        found: list[Tensor] = []
        for at in range(0, len(points), self._size):
            part = slice(at, at + self._size)
            found.append(self._block(points[part], data, {k: v[part] for k, v in state.items()}))
        return [dict(zip(self._names, row, strict=True)) for row in torch.cat(found).tolist()]

    def _block(self, points: Tensor, data: Splits, state: dict[str, Tensor]) -> Tensor:
        """The scores (B, names) of some networks, by the traced form where there is one and most of its rows are."""
        missing = self._size - len(points)
        if not self._names or not self._is_traced(state) or missing > len(points):  # its first block tells the names
            return self._together_now(data, points, state)
        tensors = [tensor for part in data if part is not None for tensor in part]
        full = torch.cat([points, points[:1].expand(missing, -1)]) if missing else points  # it has one shape
        if self._compiled is None:
            counts = [0 if part is None else len(part) for part in data]
            make = partial(compile_step, partial(self._from_tensors, counts), (full,), tensors)
            shapes = [tensor.shape for tensor in tensors]
            key = "scores", self._problem, full.shape, *counts, *shapes
            self._compiled = make() if full.is_cuda else shared(key, make)
        return self._compiled(full, *tensors)[: len(points)]

    def _is_traced(self, state: dict[str, Tensor]) -> bool:
        if not self._compiles or self._scored < MIN_SCORED or state or self._draws:
            return False
        return not any(True for _ in self._network.buffers())  # their values would be part of the trace

    def _from_tensors(self, counts: list[int], points: Tensor, *tensors: Tensor) -> Tensor:
        """The same as a function of tensors alone. counts: how many of them each split has."""
        left = iter(tensors)
        return self._together_now(Splits(*(tuple(islice(left, count)) or None for count in counts)), points, {})  # type: ignore[arg-type]

    def _together_now(self, data: Splits, points: Tensor, state: dict[str, Tensor]) -> Tensor:
        def scored(row: Tensor, own: dict[str, Tensor]) -> dict[str, Tensor]:
            return self._scores(self._stand_in(row, self._network, own), data)

        with SampleLayout(), ChannelLayout():
            scores = vmap(scored, randomness="same")(points, state)
        self._names = list(scores)
        return torch.stack([value.double() for value in scores.values()], 1)

    @cached_property
    def _draws(self) -> bool:
        """Whether a forward in eval mode draws random numbers, from what one does to torch's global states."""
        if not self._problem.stochastic:
            return False
        with torch.random.fork_rng():
            before = _random_states()
            with torch.no_grad():
                self._problem.loss(self._network, head(self._problem.data().train, 2))
            return any(not torch.equal(a, b) for a, b in zip(before, _random_states(), strict=True))

    @cached_property
    def _is_remembered(self) -> bool:
        """Whether loss and metrics may share one forward: they see the network as a function, and it draws nothing."""
        usual = type(self._problem).loss is Problem.loss and type(self._problem).metrics is Problem.metrics
        return (usual or self._problem.vmaps) and not self._draws

    def _scores(self, net: Net, data: Splits) -> dict[str, Tensor]:
        if self._problem.stochastic:
            torch.manual_seed(0)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, part in data._asdict().items():
                if part is None:
                    continue
                seen = Remembering(net) if self._is_remembered else net
                found["loss" if name == "train" else f"{name}_loss"] = self._problem.loss(seen, part)
                extra = self._problem.metrics(seen, part)
                found.update({f"{name}_{metric}": value for metric, value in extra.items()})
        return found


class Remembering:
    """A network that is called once for the same tensors: a loss and its metrics share one forward."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._inputs: tuple[Any, ...] | None = None
        self._outputs: Any = None
        self._versions: list[int] = []

    def __call__(self, *inputs: Any, **more: Any) -> Any:
        if more:
            return self._net(*inputs, **more)
        same = self._inputs is not None and len(inputs) == len(self._inputs) and all(map(is_, inputs, self._inputs))
        if not same or _versions(inputs, self._outputs) != self._versions:  # changed in place since
            self._outputs = self._net(*inputs)
            self._inputs, self._versions = inputs, _versions(inputs, self._outputs)
        return self._outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


def _versions(*values: Any) -> list[int]:
    return [leaf._version for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _random_states() -> list[Tensor]:
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [torch.get_rng_state(), *on_gpus]
