"""What points score on every split, in eval mode, without touching the network in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import vmap

from optbench.core.problem import Net, Problem, Splits
from optbench.engine.blocks import widest_activation
from optbench.engine.channel_layout import ChannelLayout
from optbench.engine.sample_layout import SampleLayout

MAX_SCORED = 2**22  # numbers in the widest activations of the networks that are scored at a time


class Scorer:
    """An idle copy of the network that points are scored with."""

    def __init__(self, problem: Problem, network: nn.Module, stand_in: Callable[..., Net]) -> None:
        """stand_in: a (D,) row, a module and {buffer: value} -> the module with these, under vmap too."""
        self.at_once = 0  # networks that were scored at a time; 0 before the first
        self._problem, self._network, self._stand_in = problem, network.eval(), stand_in
        self._sizes = [p.numel() for p in network.parameters()]
        self._together = True  # as far as is known

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
        scores = self._scores(self._network, data)
        return {name: float(torch.as_tensor(value).detach()) for name, value in scores.items()}

    def _score_together(self, points: Tensor, data: Splits, state: Mapping[str, Tensor]) -> list[dict[str, float]]:
        """In blocks, so that a wide group takes no more memory to score than a few networks."""
        if not self.at_once:
            widest = widest_activation(lambda: self._scores(self._network, Splits(data.train)))
            self.at_once = max(1, MAX_SCORED // widest)
        found: list[dict[str, float]] = []

        def scored(row: Tensor, own: dict[str, Tensor]) -> dict[str, Tensor]:
            return self._scores(self._stand_in(row, self._network, own), data)

        for at in range(0, len(points), self.at_once):
            part = slice(at, at + self.at_once)
            with SampleLayout(), ChannelLayout():
                scores = vmap(scored, randomness="same")(points[part], {k: v[part] for k, v in state.items()})
            columns = {name: values.tolist() for name, values in scores.items()}
            found += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return found

    def _scores(self, net: Net, data: Splits) -> dict[str, Tensor]:
        if self._problem.stochastic:
            torch.manual_seed(0)
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, part in data._asdict().items():
                if part is None:
                    continue
                found["loss" if name == "train" else f"{name}_loss"] = self._problem.loss(net, part)
                extra = self._problem.metrics(net, part)
                found.update({f"{name}_{metric}": value for metric, value in extra.items()})
        return found
