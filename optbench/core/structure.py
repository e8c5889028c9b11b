"""What an exact method may read of a problem."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optbench.core.problem import Batch, Problem


class Inapplicable(Exception):
    """This optimizer cannot train this problem; the text says why and what would help."""


@dataclass(frozen=True)
class Structure:
    """The pieces of a problem, and a network without weights. N: samples, D: parameters."""

    network: nn.Module  # on the meta device: its layers can be read, but not run
    inputs: Tensor  # (N, ...)
    targets: Tensor  # (N, ...)
    loss: str
    full_batch: bool
    stochastic: bool
    grid: tuple[float, ...] | None  # the weight grid that the problem states, if any

    def pack(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """{parameter name: tensor} -> (D,), in the network's own order. Raises KeyError, ValueError."""
        parts = []
        for name, p in self.network.named_parameters():
            if tensors[name].shape != p.shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}, the network's {tuple(p.shape)}")
            parts.append(tensors[name].reshape(-1))
        return torch.cat(parts)


def structure_of(problem: Problem, network: nn.Module, train: Batch, full_batch: bool) -> Structure:
    """Copies, so that what is scored stays as it is. Raises Inapplicable where the problem does not give "exact"."""
    if "exact" not in problem.gives:
        raise Inapplicable("this problem does not open its structure to exact methods")
    return Structure(
        network=copy.deepcopy(network).to("meta"),
        inputs=train[0].clone(),
        targets=train[1].clone(),
        loss=problem.loss_name,
        full_batch=full_batch,
        stochastic=problem.stochastic,
        grid=weight_grid(problem),
    )


def weight_grid(problem: Problem) -> tuple[float, ...] | None:
    """The values that the problem's weights may take, where it states them."""
    grid: tuple[float, ...] | None = getattr(problem, "grid", None)
    return grid
