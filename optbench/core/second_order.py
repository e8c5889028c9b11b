"""Losses and gradients that an optimizer differentiates itself, each of its backward passes counted and charged.

A Hessian-vector product is the backward pass of a gradient (Pearlmutter 1994). An optimizer that asks for one calls
torch.autograd as in any loop; the gradient that it was given is an operation whose backward the objective counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Entered around the work of one backward pass: counts it, and raises Stop where the budget does not cover it.
Charge = Callable[[], AbstractContextManager[None]]


def differentiable(charge: Charge, gradients: list[Tensor | None], leaves: list[nn.Parameter]) -> None:
    """Leave the gradients, which have a graph, in `.grad` such that each pass backward through them is charged."""
    known = [k for k, gradient in enumerate(gradients) if gradient is not None]
    found = _Gradients.apply(charge, [gradients[k] for k in known], leaves, *leaves)
    for leaf in leaves:
        leaf.grad = None
    for k, gradient in zip(known, found, strict=True):
        leaves[k].grad = gradient


def charged(charge: Callable[[], None], loss: Tensor) -> Tensor:
    """The loss; `charge` is called whenever a backward pass through it begins."""
    out: Tensor = _Loss.apply(charge, loss)
    return out


class _Gradients(torch.autograd.Function):
    """Gradients as one operation on the parameters; its backward is a Hessian-vector product."""

    @staticmethod
    def forward(
        ctx: Any, charge: Charge, gradients: list[Tensor], leaves: list[nn.Parameter], *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.charge, ctx.gradients, ctx.leaves = charge, gradients, leaves
        return tuple(gradient.detach().clone() for gradient in gradients)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Tensor | None, ...]:
        with ctx.charge():
            products = torch.autograd.grad(ctx.gradients, ctx.leaves, vectors, retain_graph=True, allow_unused=True)
        return None, None, None, *products


class _Loss(torch.autograd.Function):
    """The loss as it is; its backward begins every backward pass of the network."""

    @staticmethod
    def forward(ctx: Any, charge: Callable[[], None], loss: Tensor) -> Tensor:
        ctx.charge = charge
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        ctx.charge()
        return None, gradient
