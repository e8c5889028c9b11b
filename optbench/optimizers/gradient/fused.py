"""Optimizers whose update is part of the backward pass, which they run themselves (LOMO, Lv et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optbench.core.objective import Objective
from optbench.optimizers.gradient.schedules import Schedule
from optbench.optimizers.gradient.shaping import Shaped, Shaping, parameters_of


def train_fused(f: Objective, optimizer: Any, schedules: Sequence[Schedule], shaping: Shaping) -> None:
    """Take steps of `fused_backward(loss, lr)` until the objective stops them.

    Where the optimizer clips the norm of the gradient, it first measures it by a backward pass of its own,
    `grad_norm(loss)`, which is charged too.
    """
    rate = optimizer.param_groups[0]["lr"]
    shaped = Shaped(f, shaping, parameters_of(optimizer), f.loss)
    while True:
        shaped.begin()
        loss = f.loss()
        if getattr(optimizer, "clip_grad_norm", None):
            optimizer.grad_norm(loss)
        optimizer.fused_backward(loss, rate * schedules[0].factor(f.progress))
        shaped.end()
