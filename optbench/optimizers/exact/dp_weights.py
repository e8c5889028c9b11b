"""The recursion over weights: every response that one unit can have on all samples, each with its cheapest weights.

S_0 = {0}; S_{i+1} = unique(S_i (+) g x_i) over the grid values g; U = unique(sigma(S)). The responses number far fewer
than the weights wherever samples repeat or an activation flattens: a sign unit on 4 points has 14, whatever the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from optbench.core.objective import Inapplicable
from optbench.optimizers.exact.dp_merge import Array, Ints, check_memory, keys, merge, quantum
from optbench.optimizers.exact.work import did

STEPPED = ("step", "sign")
WAY_OUT = "use a coarser grid, fewer samples, a narrower layer or a larger cap"


@dataclass(frozen=True)
class Grid:
    """The values of every weight and bias, what each costs, and the memory to work in."""

    values: Array  # (L,) ascending
    cost: Array  # (L,) penalty of a weight with that value
    cap: float  # GiB
    eps: float  # relative rounding of the network's own arithmetic, where thresholds are decided


@dataclass(frozen=True)
class Responses:
    """M distinct vectors, each with its cheapest weights."""

    rows: Array  # (M, n)
    weights: Array  # (M, W), those that give each row: for a unit its incoming weights, then its bias if it has one
    cost: Array  # (M,)


def responses(columns: Array, grid: Grid, bias: bool, activation: str) -> Responses:
    """What a unit on the inputs `columns` (N, I) can answer; rows are in lexicographic order. Raises Inapplicable."""
    sums = _sums(columns, grid, bias)
    if activation in STEPPED:
        _check_thresholds(sums, columns, grid, activation)
    return ordered(Responses(activate(sums.rows, activation), sums.weights, sums.cost))


def _sums(columns: Array, grid: Grid, bias: bool) -> Responses:
    samples, inputs = columns.shape
    parts = np.concatenate([columns.T, np.ones((1, samples))]) if bias else columns.T
    spacing = quantum(float(np.abs(parts).sum(0).max() * np.abs(grid.values).max()))
    found = Responses(np.zeros((1, samples)), np.zeros((1, 0)), np.zeros(1))
    levels = len(grid.values)
    for part in parts:
        size = len(found.rows) * levels
        check_memory(size, samples + inputs + 1, grid.cap, "the responses of a unit", WAY_OUT)
        rows = (found.rows[:, None] + grid.values[:, None] * part).reshape(size, samples)
        cost = (found.cost[:, None] + grid.cost).ravel()
        did(2 * rows.size + cost.size)
        kept = merge(keys(rows, spacing), cost)
        before, level = np.divmod(kept, levels)
        weights = np.concatenate([found.weights[before], grid.values[level, None]], 1)
        found = Responses(rows[kept], weights, cost[kept])
    return found


def ordered(found: Responses) -> Responses:
    """Equal rows merged, the rest in lexicographic order of their keys."""
    keyed = keys(found.rows, quantum(float(np.abs(found.rows).max())))
    kept = merge(keyed, found.cost)
    kept = kept[np.lexsort(keyed[kept].T[::-1])]
    return Responses(found.rows[kept], found.weights[kept], found.cost[kept])


def activate(z: Array, name: str) -> Array:
    """The activation's values; steps and signs are 1 at 0, as `optbench.core.layers` has them."""
    did(z.size)
    if name == "identity":
        return z
    if name == "relu":
        return np.maximum(z, 0.0)
    if name == "tanh":
        return np.tanh(z)
    if name == "sigmoid":
        return 0.5 + 0.5 * np.tanh(0.5 * z)
    return np.where(z >= 0, 1.0, 0.0 if name == "step" else -1.0)


def _check_thresholds(sums: Responses, columns: Array, grid: Grid, activation: str) -> None:
    """Raise Inapplicable where rounding alone would decide on which side of its threshold a sample falls.

    There the network's forward pass, which sums in an order of its own, may disagree with any table.
    """
    mass = np.abs(columns).sum(1).max() + 1
    if _exact(columns, grid, float(mass)):
        return
    near = 8 * columns.shape[1] * grid.eps * float(mass * np.abs(grid.values).max())
    close = np.abs(sums.rows) <= near  # (M, N)
    used = np.abs(sums.weights[:, : columns.shape[1]]) @ np.abs(columns).T  # (M, N), 0: the sum is 0 in any order
    if sums.weights.shape[1] > columns.shape[1]:
        used += np.abs(sums.weights[:, -1:])
    if (close & (used > 0)).any():
        raise Inapplicable(
            f"a {activation} unit whose sum cancels to within rounding of its threshold: "
            "use inputs and grid values that are small whole numbers or eighths, or shift the grid"
        )


def _exact(columns: Array, grid: Grid, mass: float) -> bool:
    """Every sum of grid value x input is exact: all are multiples of 2^-20 and small enough for the mantissa."""
    bits = 0
    for numbers in (columns, grid.values):
        fits = [b for b in range(21) if not np.mod(numbers * 2.0**b, 1.0).any()]
        if not fits:
            return False
        bits += fits[0]
    return bool(mass * np.abs(grid.values).max() * 2.0**bits < 1 / grid.eps)


def actions(units: Responses, grid: Grid, outputs: int) -> Responses:
    """What one unit with its outgoing weights can add to all outputs: unique{u v^T}, rows (N O,), flat as (N, O).

    `weights` holds the unit's index in `units`, then its O outgoing weights.
    """
    values, cost = _combinations(grid, outputs)
    samples = units.rows.shape[1]
    size = len(units.rows) * len(values)
    check_memory(size, samples * outputs + outputs + 1, grid.cap, "the contributions of a unit", WAY_OUT)
    rows = (units.rows[:, None, :, None] * values[:, None, :]).reshape(size, samples * outputs)
    unit, combination = np.divmod(np.arange(size), len(values))
    did(rows.size + size)
    weights = np.concatenate([unit[:, None], values[combination]], 1)
    return ordered(Responses(rows, weights, units.cost[unit] + cost[combination]))


def offsets(grid: Grid, samples: int, outputs: int, bias: bool) -> Responses:
    """What the output bias can add: the constants, rows (N O,); `weights` holds the O biases (none: one row of 0)."""
    if not bias:
        return Responses(np.zeros((1, samples * outputs)), np.zeros((1, 0)), np.zeros(1))
    values, cost = _combinations(grid, outputs)
    return Responses(np.tile(values, (1, samples)), values, cost)


def _combinations(grid: Grid, outputs: int) -> tuple[Array, Array]:
    """All (L^O, O) choices of O weights, and what each costs."""
    check_memory(len(grid.values) ** outputs, outputs + 1, grid.cap, "the weights of all outputs", WAY_OUT)
    index: Ints = np.array(list(product(range(len(grid.values)), repeat=outputs)))
    return grid.values[index], grid.cost[index].sum(1)
