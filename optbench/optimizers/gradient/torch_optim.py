"""Any torch.optim.Optimizer class as it stands, for one trial or for many at once.

Lanes of a class that works element by element are rows of one parameter, lanes with other settings param groups over
other rows. A class that styles at whole layers gets one parameter list and one optimizer a lane, while the gradient is
still computed for all lanes at once. Schedules follow the share of the budget that is spent.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from optbench.core.objective import Objective

SCHEDULES = ("constant", "step", "cosine")


def factor(schedule: str, warmup: float, progress: float) -> float:
    """What the learning rate is multiplied by after a share `progress` of the budget.

    warmup: the share over which the rate rises linearly from 0. Then constant; "step" divides by 10 after 1/2 and
    again after 3/4 of what is left (He et al. 2016); "cosine" falls to 0 (Loshchilov & Hutter 2017).
    """
    if progress < warmup:
        return progress / warmup
    after = (progress - warmup) / (1 - warmup)
    if schedule == "step":
        return 0.1 ** ((after >= 0.5) + (after >= 0.75))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * after))
    return 1.0


@dataclass(frozen=True)
class TorchOptim:
    """Adapter for one class with its settings. Raises ValueError for a setting that the class refuses."""

    cls: type[torch.optim.Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)  # arguments of the class
    schedule: str = "constant"  # of the learning rate: constant, step or cosine
    warmup: float = 0.0  # share of the budget over which the learning rate rises from 0

    needs: ClassVar[str] = "grad"
    full_batch: ClassVar[bool] = False
    lanes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule={self.schedule!r} is none of {', '.join(SCHEDULES)}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup={self.warmup} is no share of the budget in [0, 1)")
        self.on([nn.Parameter(torch.zeros(2, 2))])  # the class checks its own ranges

    @property
    def for_rows(self) -> Mapping[str, Any] | None:
        """Settings with which the class trains the rows of a matrix as if each were alone, if it does."""
        cls: Any = self.cls  # hashable, whatever its stub says
        return for_rows(cls, tuple(sorted(self.settings.items())))

    def minimise(self, f: Objective) -> None:
        self.together([self] * f.lanes).minimise(f)

    @staticmethod
    def together(lanes: Sequence[TorchOptim]) -> Together:
        """The optimizer of a lane group whose lanes have settings of their own."""
        return Together(lanes)

    def on(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The class with these settings, training these parameters."""
        return self.cls(parameters, **self.settings)

    def factor(self, progress: float) -> float:
        """What the learning rate is multiplied by after this share of the budget."""
        return factor(self.schedule, self.warmup, progress)


@dataclass(frozen=True)
class Together:
    """Trials of one class as lanes of one program, each with settings of its own."""

    lanes: Sequence[TorchOptim]  # a lane each

    def minimise(self, f: Objective) -> None:
        if f.lanes == 1:
            self._alone(f)
        elif all(lane.for_rows is not None for lane in self.lanes):
            self._stacked(f)
        else:
            self._side_by_side(f)

    def _alone(self, f: Objective) -> None:
        rates = Rates(self.lanes[0].on(f.parameters()), self.lanes)
        while True:
            rates.follow(f.progress)
            f.next_step()  # the closures of one step share a minibatch
            rates.optimizer.step(f.closure)  # type: ignore[arg-type]  # annotated as float, called with a tensor

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
        rates = Rates(self.lanes[0].cls(groups, **taken[0]), firsts)
        while True:
            rates.follow(f.progress)
            f.next_step()
            rates.optimizer.step(f.closure)  # type: ignore[arg-type]

    def _side_by_side(self, f: Objective) -> None:
        """One optimizer a lane, each in a greenlet that rests in its closure until all lanes have asked."""
        hub = getcurrent()
        losses: list[Tensor] = []

        def train(lane: int) -> None:
            settings = self.lanes[lane]
            rates = Rates(settings.on(f.parameters_of(lane)), [settings])

            def closure() -> Tensor:
                hub.switch()
                return losses[lane]

            while True:
                rates.follow(f.progress)
                f.next_step(lane)
                rates.optimizer.step(keeping_grad_mode(closure))  # type: ignore[arg-type]

        lanes = [greenlet(train) for _ in self.lanes]
        for index, lane in enumerate(lanes):
            lane.switch(index)
        while True:
            losses[:] = f.closure().unbind()
            for lane in lanes:
                lane.switch()


class Rates:
    """The learning rates of an optimizer's param groups as their schedules have it."""

    def __init__(self, optimizer: torch.optim.Optimizer, settings: Sequence[TorchOptim]) -> None:
        """settings: one a param group."""
        self.optimizer = optimizer
        scheduled = [one.schedule != "constant" or one.warmup > 0 for one in settings]
        self._groups = [
            (group, group["lr"], one)
            for group, one, moves in zip(optimizer.param_groups, settings, scheduled, strict=True)
            if moves and "lr" in group
        ]

    def follow(self, progress: float) -> None:
        for group, rate, settings in self._groups:
            group["lr"] = rate * settings.factor(progress)


def keeping_grad_mode(closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The closure, after which autograd is on or off as it was: whoever ran meanwhile may have switched it."""

    def kept() -> Tensor:
        mode = torch.is_grad_enabled()
        loss = closure()
        torch.set_grad_enabled(mode)
        return loss

    return kept


def arguments(cls: type[torch.optim.Optimizer]) -> list[str]:
    """Names of the settings that the class takes."""
    return [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "params", "kwargs")]


@cache
def for_rows(cls: Any, settings: tuple[tuple[str, Any], ...]) -> Mapping[str, Any] | None:
    """Settings with which rows of one matrix are trained as if each were alone, or None.

    A class that has a fused form takes it: one pass over memory where a dozen are usual, with the same formula.
    """
    plain = dict(settings)
    forms = [plain]
    if "fused" in arguments(cls) and not {"fused", "foreach", "capturable", "differentiable"} & plain.keys():
        forms.insert(0, {**plain, "fused": True})
    return next((form for form in forms if _works_by_row(cls, form, plain)), None)


def _works_by_row(cls: Any, settings: Mapping[str, Any], alone: Mapping[str, Any]) -> bool:
    """Whether three rows together do what each does alone, with settings of its own: six steps down random bowls."""
    draw = torch.Generator().manual_seed(0)
    start, centre = torch.randn(2, 3, 8, generator=draw)
    stiffness = torch.tensor([0.01, 1.0, 100.0])[:, None] * (1 + torch.rand(3, 8, generator=draw))

    def train(rows: slice, settings: Mapping[str, Any]) -> torch.Tensor:
        p = nn.Parameter(start[rows].clone())
        optimizer = cls([p], **settings)

        def closure() -> float:
            away = p.detach() - centre[rows]
            p.grad = stiffness[rows] * away
            return float((stiffness[rows] * away**2).sum() / 2)

        for _ in range(6):
            optimizer.step(closure)
        return p.detach()

    try:
        together = train(slice(None), settings)
        apart = torch.cat([train(slice(k, k + 1), alone) for k in range(3)])
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False  # it refuses one of the shapes: such a class mixes elements
    return not torch.equal(together, start) and torch.allclose(together, apart, rtol=1e-5, atol=1e-7)
