"""Losses at the end of the recursion over units, and what no completion of a partial network can undercut.

With r units left the outputs lie in s + r [min V, max V] + [min C, max C], coordinate by coordinate: a box around the
partial outputs s. V are the contributions a unit can make and C those of the output bias.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import logit

from optbench.optimizers.exact.dp_merge import Array
from optbench.optimizers.exact.work import did


class Loss(Protocol):
    def value(self, z: Array) -> Array:
        """(..., n) outputs -> (...) mean losses."""

    def bound(self, s: Array, left: int) -> Array:
        """(M, n) partial outputs -> (M,): nothing that `left` more units and a bias can reach has a smaller loss."""


class Reach:
    """What r more units and the bias can add, as a box (low, high)."""

    def __init__(self, units: Array, biases: Array) -> None:
        """units: (A, n) contributions of a unit; biases: (C, n)."""
        self.unit = units.min(0), units.max(0)
        self.bias = biases.min(0), biases.max(0)

    def box(self, left: int) -> tuple[Array, Array]:
        low, high = (left * unit + bias for unit, bias in zip(self.unit, self.bias, strict=True))
        return low, high


class Squared:
    """Mean squared error. Bound: the squared distance from y to the box, also along the contributions' own axes.

    The right singular vectors of V are orthonormal, so distances are the same along them; where contributions are
    nearly linearly dependent (they often are) their box is thin and the bound far tighter. The larger one counts.
    """

    def __init__(self, y: Array, units: Array, biases: Array) -> None:
        """y: (n,) targets of all samples and outputs."""
        self.y = y
        self.plain = Reach(units, biases)
        self.axes = np.linalg.svd(units, full_matrices=True)[2].T if len(units) < 4 * len(y) else _axes(units)  # (n, n)
        self.turned = Reach(units @ self.axes, biases @ self.axes)

    def value(self, z: Array) -> Array:
        did(3 * z.size)
        found: Array = ((z - self.y) ** 2).mean(-1)
        return found

    def bound(self, s: Array, left: int) -> Array:
        missing = self.y - s
        did(s.size + 2 * s.size * len(self.y))
        return np.maximum(box_bound(missing, self.plain, left), box_bound(missing @ self.axes, self.turned, left))


def _axes(units: Array) -> Array:
    """Right singular vectors through the (n, n) Gram matrix: any orthonormal basis is valid, this one is cheap."""
    return np.linalg.eigh(units.T @ units)[1]


def box_bound(missing: Array, reach: Reach, left: int) -> Array:
    """(M, n) what is missing to the targets -> (M,) mean squared distance of it to what can still be added."""
    low, high = reach.box(left)
    did(5 * missing.size)
    apart = missing - np.clip(missing, low, high)
    found: Array = (apart**2).mean(1)
    return found


class Binary:
    """Mean binary cross-entropy on logits. Bound: each output alone takes the best logit in its part of the box."""

    def __init__(self, y: Array, units: Array, biases: Array) -> None:
        self.y = y
        self.best = logit(y)  # infinite for 0 and 1
        self.reach = Reach(units, biases)

    def value(self, z: Array) -> Array:
        did(8 * z.size)
        found: Array = (np.maximum(z, 0.0) - z * self.y + np.log1p(np.exp(-np.abs(z)))).mean(-1)
        return found

    def bound(self, s: Array, left: int) -> Array:
        low, high = self.reach.box(left)
        did(4 * s.size)
        return self.value(np.clip(self.best, s + low, s + high))
