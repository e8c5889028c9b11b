"""Between the objective's tensors and the NumPy arrays that wrapped libraries work with, for one lane."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from optbench.core.objective import Objective

Array = NDArray[np.float64]


def start(f: Objective, points: int | None = None) -> Array:
    """(D,) or (points, D): initialisations of the network, float64."""
    return f.start(points)[0].double().cpu().numpy()


def spread(f: Objective, points: int = 16) -> float:
    """Deviation of a parameter over initial networks, as root mean square over parameters; 1 where it is 0."""
    return float(np.sqrt(start(f, points).var(0, ddof=1).mean())) or 1.0


def stack(points: Sequence[Array]) -> Array:
    """Points (D,) as rows (P, D)."""
    return np.stack(points)


def values(f: Objective, own: float = 0.0) -> Callable[[Array], Array]:
    """A function (P, D) -> (P,) for libraries that evaluate a whole population.

    own: FLOPs that the library itself spends on each point.
    """

    def losses(x: Array) -> Array:
        f.charge_own(own * len(x))
        return f.value(_tensor(f, x)[None])[0].double().cpu().numpy()

    return losses


def value(f: Objective, own: float = 0.0) -> Callable[[Array], float]:
    """A function (D,) -> float for libraries that evaluate point by point, each at `own` FLOPs of theirs."""
    losses = values(f, own)
    return lambda x: float(losses(x[None])[0])


def value_and_grad(f: Objective, own: float = 0.0) -> Callable[[Array], tuple[float, Array]]:
    """A function (D,) -> (loss, gradient (D,)).

    A loss that is not finite comes back as a wall somewhat above the worst one seen, without a slope: a line search
    interpolates its next step from the value, and from an infinite one it gets a step of nothing. own: FLOPs that the
    library itself spends on each point.
    """
    worst = -math.inf

    def both(x: Array) -> tuple[float, Array]:
        nonlocal worst
        f.charge_own(own)
        losses, gradient = f.value_and_grad(_tensor(f, x)[None])
        loss = float(losses[0])
        if not math.isfinite(loss):
            wall = worst + 10 * max(1.0, abs(worst)) if math.isfinite(worst) else math.inf
            return wall, np.zeros_like(x)
        worst = max(worst, loss)
        return loss, gradient[0].double().cpu().numpy()

    return both


def seed(f: Objective) -> int:
    """A seed for a library's own generator, drawn from the trial's (24 bits: what float32 holds)."""
    return int(float(f.rand(1)[0, 0]) * 2**24)


@contextmanager
def global_state(number: int) -> Iterator[None]:
    """Seed NumPy's global generator for a library that draws from nothing else, and put it back as it was."""
    state = np.random.get_state()
    np.random.seed(number)
    try:
        yield
    finally:
        np.random.set_state(state)


def _tensor(f: Objective, x: Array) -> torch.Tensor:
    return torch.as_tensor(np.array(x), dtype=f.dtype, device=f.device)  # a copy: the library may reuse its array
