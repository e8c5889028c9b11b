"""Any torch.optim.Optimizer class as it stands, for one trial or for many at once.

Lanes of a class that works element by element are rows of one parameter, lanes with other settings param groups over
other rows. A class that works on whole layers gets one parameter list and one optimizer a lane, while the gradient is
still computed for all lanes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.gradient.demands import demand
from optbench.optimizers.gradient.elementwise import stacked_settings
from optbench.optimizers.gradient.modes import score_in_eval_mode
from optbench.optimizers.gradient.probes import Traits, kind_of, traits
from optbench.optimizers.gradient.schedules import Rates, Schedule
from optbench.optimizers.gradient.shaping import PLAIN, Shaped, Shaping, parameters_of
from optbench.optimizers.gradient.side_by_side import train_side_by_side
from optbench.optimizers.gradient.steps import Steps


@dataclass(frozen=True)
class TorchOptim:
    """Adapter for one class with its settings. Raises ValueError for a setting that the class refuses."""

    cls: type[torch.optim.Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)  # arguments of the class
    schedule: str = "constant"  # of the learning rate: constant, step or cosine
    warmup: float = 0.0  # share of the budget over which the learning rate rises from 0
    shaping: Shaping = PLAIN  # of gradients and points

    needs: ClassVar[str] = "grad"
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        Schedule(self.schedule, self.warmup)
        self.on([nn.Parameter(torch.zeros(2, 2))])  # the class checks its own ranges

    @property
    def traits(self) -> Traits:
        """What the class needs, found out by trying."""
        return traits((self.cls, kind_of(self.settings)), self.on)

    @property
    def lanes(self) -> bool:
        """Whether several trials train at once as each does alone."""
        return self.traits.lanes

    @property
    def for_rows(self) -> Mapping[str, Any] | None:
        """Settings with which the class trains the rows of a matrix as if each were alone, if it does."""
        cls: Any = self.cls  # hashable, whatever its stub says
        return stacked_settings(cls, tuple(sorted(self.settings.items())))

    @property
    def rate(self) -> Schedule:
        """The schedule of the learning rate."""
        return Schedule(self.schedule, self.warmup)

    @property
    def demand(self) -> str | None:
        """What it asks of its problem beside losses and gradients, as a phrase."""
        return demand([self.cls], self.shaping, self.traits.graph)

    def minimise(self, f: Objective) -> None:
        self.together([self] * f.lanes).minimise(f)

    @staticmethod
    def together(lanes: Sequence[TorchOptim]) -> Together:
        """The optimizer of a lane group whose lanes have settings of their own."""
        return Together(lanes)

    def on(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The class with these settings, training these parameters."""
        return self.cls(parameters, **self.settings)

    def build(self, parameters: list[nn.Parameter]) -> tuple[torch.optim.Optimizer, Sequence[Schedule]]:
        """The same with the schedules of its param groups. Raises Inapplicable where the class refuses them."""
        try:
            optimizer = self.on(parameters)
        except Exception as error:
            raise Inapplicable(f"{self.cls.__name__} refuses these parameters: {error}") from None
        return optimizer, [self.rate] * len(optimizer.param_groups)


@dataclass(frozen=True)
class Together:
    """Trials of one class as lanes of one program, each with settings of its own."""

    lanes: Sequence[TorchOptim]  # a lane each

    def minimise(self, f: Objective) -> None:
        if f.lanes == 1:
            train(
                f, *self.lanes[0].build(f.parameters()), shaping=self.lanes[0].shaping, graph=self.lanes[0].traits.graph
            )
        elif all(lane.for_rows is not None and lane.shaping == self.lanes[0].shaping for lane in self.lanes):
            self._stacked(f)
        else:
            train_side_by_side(f, [lane.build for lane in self.lanes], [lane.shaping for lane in self.lanes])

    def _stacked(self, f: Objective) -> None:
        """One optimizer, a param group for every run of lanes with the same settings."""
        runs: list[list[int]] = []
        for lane, settings in enumerate(self.lanes):
            if lane and settings == self.lanes[lane - 1]:
                runs[-1].append(lane)
            else:
                runs.append([lane])
        firsts = [self.lanes[run[0]] for run in runs]
        taken = [first.for_rows or {} for first in firsts]
        groups = [
            {"params": f.parameters(slice(run[0], run[-1] + 1)), **given}
            for run, given in zip(runs, taken, strict=True)
        ]
        optimizer = self.lanes[0].cls(groups, **taken[0])
        train(f, optimizer, [first.rate for first in firsts], shaping=firsts[0].shaping)


def train(
    f: Objective,
    optimizer: torch.optim.Optimizer,
    schedules: Sequence[Schedule],
    *,
    shaping: Shaping = PLAIN,
    graph: bool = False,
) -> None:
    """Take steps until the objective stops them. schedules: one a param group. graph: its gradients have a graph."""
    closure = f.closure_with_graph if graph else f.closure
    rates = Rates(optimizer, schedules)
    score_in_eval_mode(f, optimizer)
    shaped = Shaped(f, shaping, parameters_of(optimizer), closure, rows=f.lanes > 1)
    steps = Steps(optimizer, shaped.closure)
    while True:
        rates.follow(f.progress)
        shaped.begin()  # the closures of one step share a minibatch
        steps.take()
        shaped.end()
