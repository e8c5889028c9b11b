"""What an optimizer class needs, found out by trying it on a small bowl: no list of names has to know it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from optbench.core.watching import uncounted
from optbench.optimizers.gradient.steps import Steps

# An optimizer of these parameters.
Make = Callable[[list[nn.Parameter]], Any]
NOISE = 1e-6  # relative: what lanes and single trials of float32 differ by in their gradients
MAX_GROWTH = 1e-2  # and what they may differ by after the steps of a probe, relative to the way gone
STEPS = 12  # past the tenth, at which many preconditioners are renewed


def kind_of(settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Settings without their numbers, by which a class is tried once: a rate decides nothing that is tried here."""
    return tuple(sorted((key, value if isinstance(value, str | bool) else None) for key, value in settings.items()))


class Traits(NamedTuple):
    """What was found out by trying."""

    graph: bool  # its gradients must have a graph
    lanes: bool  # it trains as one of several lanes as it does alone


_FOUND: dict[Hashable, Traits] = {}


def traits(key: Hashable, make: Make) -> Traits:
    """What was found out for this key, a class and what it is built with; tried once a process."""
    if key not in _FOUND:
        with uncounted():
            graph = needs_graph(make)
            _FOUND[key] = Traits(graph, not graph and steady(make))
    return _FOUND[key]


def needs_graph(make: Make) -> bool:
    """Whether it steps only with gradients that can be differentiated, as methods with Hessian-vector products do."""
    return not _steps(make, graph=False) and _steps(make, graph=True)


def is_fused(cls: Any) -> bool:
    """Whether its update is part of the backward pass, which it runs itself: `fused_backward(loss, lr)`."""
    return callable(getattr(cls, "fused_backward", None))


def steady(make: Make) -> bool:
    """Whether rounding stays rounding, so that lanes train as single trials do.

    A step that turns a singular matrix's eigenvectors into directions makes errors of float32 as large as itself. One
    that draws from the global generator depends on what else draws from it. One that searches a line has made many
    steps by the end of a probe, and is taken to be steady.
    """
    try:
        state = torch.random.get_rng_state()
        with torch.random.fork_rng():
            (plain, began, calls), (noisy, *_) = _trained(make, 0.0), _trained(make, NOISE)
            drew = not torch.equal(torch.random.get_rng_state(), state)
    except Exception:
        return True  # it takes other parameters: tried in training
    away = [float((a - b).norm()) for a, b in zip(plain, noisy, strict=True)]
    gone = [float((a - b).norm()) for a, b in zip(plain, began, strict=True)]
    return not drew and (
        calls > 2 * STEPS or all(a <= MAX_GROWTH * max(g, NOISE) for a, g in zip(away, gone, strict=True))
    )


def _steps(make: Make, graph: bool) -> bool:
    p = nn.Parameter(torch.linspace(0.1, 1.0, 9).view(3, 3))

    def closure() -> Tensor:
        loss = (p**3).sum()
        (p.grad,) = torch.autograd.grad(loss, p, create_graph=graph)
        return loss.detach()

    try:
        with torch.random.fork_rng(), torch.enable_grad():
            Steps(make([p]), closure).take()
    except Exception:
        return False
    finally:
        p.grad = None
    return True


def _trained(make: Make, noise: float) -> tuple[list[Tensor], list[Tensor], int]:
    """The (weight, bias) of a layer after a few steps, and before, and how many evaluations that took.

    Its gradients have a lower rank than it has rows.
    """
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(8, 4, generator=draw) / 2, torch.zeros(8)
    inputs, wanted = torch.randn(STEPS, 3, 4, generator=draw), torch.randn(STEPS, 3, 8, generator=draw)
    parameters = [nn.Parameter(weight.clone()), nn.Parameter(bias.clone())]
    step = calls = 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        with torch.enable_grad():
            loss = (inputs[step] @ parameters[0].t() + parameters[1] - wanted[step]).square().mean()
            gradients: Sequence[Tensor] = torch.autograd.grad(loss, parameters)
        for p, gradient in zip(parameters, gradients, strict=True):
            sign = torch.ones(gradient.numel()).cumsum(0).remainder(2).mul(2).sub(1).view_as(gradient)
            p.grad = gradient * (1 + noise * sign)
        return loss.detach()

    steps = Steps(make(parameters), closure)
    for batch in range(STEPS):
        step = batch
        steps.take()
        if calls > 2 * STEPS:  # it searches a line, and more steps tell nothing
            break
    return [p.detach() for p in parameters], [weight, bias], calls
