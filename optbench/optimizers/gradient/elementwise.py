"""Whether a torch optimizer works element by element, so that rows of one matrix train as if each were alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from optbench.core.watching import uncounted
from optbench.optimizers.gradient.steps import Steps


def arguments(cls: type[torch.optim.Optimizer]) -> list[str]:
    """Names of the settings that the class takes."""
    return [name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "params", "kwargs")]


@cache
def stacked_settings(cls: Any, settings: tuple[tuple[str, Any], ...]) -> Mapping[str, Any] | None:
    """Settings with which rows of one matrix are trained as if each were alone, or None.

    A class that has a fused form takes it: one pass over memory where a dozen are usual, with the same formula.
    """
    plain = dict(settings)
    forms = [plain]
    if "fused" in arguments(cls) and not {"fused", "foreach", "capturable", "differentiable"} & plain.keys():
        forms.insert(0, {**plain, "fused": True})
    with uncounted():
        return next((form for form in forms if _works_by_row(cls, form, plain)), None)


def _works_by_row(cls: Any, settings: Mapping[str, Any], alone: Mapping[str, Any]) -> bool:
    """Whether three rows together do what each does alone, with settings of its own: six steps down random bowls."""
    draw = torch.Generator().manual_seed(0)
    start, centre = torch.randn(2, 3, 8, generator=draw)
    stiffness = torch.tensor([0.01, 1.0, 100.0])[:, None] * (1 + torch.rand(3, 8, generator=draw))

    def train(rows: slice, settings: Mapping[str, Any]) -> torch.Tensor:
        p = nn.Parameter(start[rows].clone())

        def closure() -> float:
            away = p.detach() - centre[rows]
            p.grad = stiffness[rows] * away
            return float((stiffness[rows] * away**2).sum() / 2)

        steps = Steps(cls([p], **settings), closure)
        for _ in range(6):
            steps.take()
        return p.detach()

    try:
        together = train(slice(None), settings)
        apart = torch.cat([train(slice(k, k + 1), alone) for k in range(3)])
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False  # it refuses one of the shapes: such a class mixes elements
    return not torch.equal(together, start) and torch.allclose(together, apart, rtol=1e-5, atol=1e-7)
