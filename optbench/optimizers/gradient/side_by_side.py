"""Lanes of a class that mixes elements: one optimizer a lane, the gradients of all lanes computed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

from optbench.core.objective import Objective
from optbench.optimizers.gradient.modes import score_in_eval_mode
from optbench.optimizers.gradient.schedules import Rates, Schedule
from optbench.optimizers.gradient.shaping import Shaped, Shaping, parameters_of
from optbench.optimizers.gradient.steps import Steps

# An optimizer of these parameters, with the schedules of its param groups.
Build = Callable[[list[nn.Parameter]], tuple[torch.optim.Optimizer, Sequence[Schedule]]]


def train_side_by_side(f: Objective, lanes: Sequence[Build], shapings: Sequence[Shaping]) -> None:
    """Each lane runs in a greenlet that rests in its closure until all lanes have asked. Ends with Stop."""
    hub = getcurrent()
    losses: list[Tensor] = []

    def train(lane: int) -> None:
        optimizer, schedules = lanes[lane](f.parameters_of(lane))
        rates = Rates(optimizer, schedules)
        score_in_eval_mode(f, optimizer)

        def closure() -> Tensor:
            mode = torch.is_grad_enabled()  # autograd is on or off afterwards as it was: other lanes may switch it
            hub.switch()
            torch.set_grad_enabled(mode)
            return losses[lane]

        shaped = Shaped(f, shapings[lane], parameters_of(optimizer), closure, lane)
        steps = Steps(optimizer, shaped.closure)
        while True:
            rates.follow(f.progress)
            shaped.begin()
            steps.take()
            shaped.end()

    greenlets = [greenlet(train) for _ in lanes]
    for index, lane in enumerate(greenlets):
        with f.own_work_of(index):
            lane.switch(index)
    while True:
        losses[:] = f.closure().unbind()
        for index, lane in enumerate(greenlets):
            with f.own_work_of(index):
                lane.switch()
