"""Backpropagation as dynamic programming: the recursion of DDP with the value function's gradient alone.

V_x at the outputs is the gradient of the loss; each layer, from the last to the first, gives Q_u = f_u^T V_x for its
own weights and hands V_x <- f_x^T V_x down. Dropping V_xx leaves exactly the chain rule (Werbos 1974; Dreyfus 1962),
and u <- u - eta Q_u is gradient descent: the step of DDP where Q_ux = 0 and Q_uu = I / eta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from optbench.core.objective import Objective
from optbench.optimizers.checks import check_positive
from optbench.optimizers.exact.chain import read
from optbench.optimizers.exact.ddp_sweep import Stage, controls, forward, terminal_gradient


@dataclass(frozen=True)
class SGDByHand:
    """Full-batch gradient descent without autograd; its steps are those of torch.optim.SGD.

    Charged before each step: one forward and one backward pass over the training set, as SGD under autograd pays.
    """

    lr: float = 0.1  # eta

    needs: ClassVar[str] = "exact"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True
    checked_on: ClassVar[tuple[str, ...]] = ("sine_grid_k3_l3",)

    def __post_init__(self) -> None:
        check_positive("lr", self.lr)

    def minimise(self, f: Objective) -> None:
        chain = read(f.structure(), ("mse", "bce", "cross-entropy"), ("identity", "relu", "sigmoid", "tanh"))
        chain = replace(chain, inputs=chain.inputs.to(f.dtype))
        x = f.start()[0]  # (D,)
        samples = len(chain.inputs)
        while True:
            f.charge(forward=samples, backward=samples)
            stages, outputs = forward(chain, controls(chain, x))
            x = x - self.lr * gradient(stages, terminal_gradient(chain, outputs))
            f.recommend(x[None])


def gradient(stages: Sequence[Stage], v_x: Tensor) -> Tensor:
    """Q_u of every layer, (D,), from V_x at the outputs (N, O)."""
    found: list[Tensor] = []
    for stage in reversed(stages):
        below, control = stage.pull(v_x[None])
        found.append(control[0])
        v_x = below[0]
    return torch.cat(found[::-1])
