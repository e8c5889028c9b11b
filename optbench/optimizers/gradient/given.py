"""Functions as optimizers: one that builds a torch optimizer for some parameters, and one that is a whole loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers.gradient.schedules import Schedule
from optbench.optimizers.gradient.shaping import PLAIN
from optbench.optimizers.gradient.side_by_side import train_side_by_side
from optbench.optimizers.gradient.torch_optim import train


@dataclass(frozen=True)
class Given:
    """A function (parameters) -> torch optimizer; each lane has parameters and an optimizer of its own."""

    function: Callable[..., Any]

    needs: ClassVar[str] = "grad"
    lanes: ClassVar[bool] = True

    def minimise(self, f: Objective) -> None:
        if f.lanes == 1:
            train(f, *self.build(f.parameters()))
        train_side_by_side(f, [self.build] * f.lanes, [PLAIN] * f.lanes)

    def build(self, parameters: list[torch.nn.Parameter]) -> tuple[torch.optim.Optimizer, list[Schedule]]:
        """The optimizer of one lane. Raises Inapplicable where the function refuses these parameters."""
        try:
            optimizer = self.function(parameters)
        except Exception as error:
            raise Inapplicable(f"the function refuses these parameters: {error}") from None
        return optimizer, [Schedule()] * len(optimizer.param_groups)


@dataclass(frozen=True)
class Loop:
    """A function (f) -> None that is a whole optimizer: its loop, one trial at a time."""

    function: Callable[[Objective], None]

    lanes: ClassVar[bool] = False

    @property
    def needs(self) -> str:
        """What the function states as its attribute `needs`; "grad" where it states none."""
        return str(getattr(self.function, "needs", "grad"))

    def minimise(self, f: Objective) -> None:
        self.function(f)
