"""Merging equal states, and refusing tables that would not fit in memory.

States are rows of float64 numbers. Sums taken in another order differ in the last bit, so rows count as equal when they
agree on a quantum far below any loss that is compared (2^-43 of the largest number there can be, about 1e-13).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from optbench.core.objective import Inapplicable
from optbench.optimizers.exact.work import did

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

COPIES = 4  # of a table's memory: the rows, those before merging, and the keys that they are merged by
MAX_BLOCK = 1 << 21  # numbers that a vectorised step works on at once: 16 MB


def quantum(largest: float) -> float:
    """The spacing on which rows of numbers up to `largest` are compared: a power of two, so dyadic sums stay exact."""
    return 2.0 ** (math.frexp(largest)[1] - 43) if largest > 0 else 1.0


def keys(rows: Array, spacing: float) -> Ints:
    """(M, n) -> (M, n) whole numbers, equal for equal rows."""
    did(2 * rows.size)
    return np.rint(rows / spacing).astype(np.int64)


def merge(rows: Ints, cost: Array) -> Ints:
    """Which of the keyed rows (M, n) to keep, (M',): of equal ones the cheapest, of equally cheap ones the first."""
    hashed = _hash(rows)
    did(2 * rows.size + len(rows) * math.log2(max(2, len(rows))))
    order = np.lexsort((cost, hashed))
    ordered = hashed[order]
    first = np.ones(len(rows), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    within = ~first[1:]
    if (rows[order[1:][within]] != rows[order[:-1][within]]).any():  # two rows share a hash: compare all the numbers
        order = np.lexsort((cost, *rows.T))
        first[1:] = (rows[order[1:]] != rows[order[:-1]]).any(1)
    return order[first]


def _hash(rows: Ints) -> Ints:
    """(M, n) -> (M,): a linear hash in wrapping 64-bit arithmetic, its odd multipliers from SplitMix64."""
    steps = np.arange(1, rows.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (steps ^ (steps >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Ints = rows @ (mixed | np.uint64(1)).astype(np.int64)
    return found


def check_memory(states: int, numbers: int, cap: float, what: str, way_out: str) -> None:
    """Raise Inapplicable where `states` rows of `numbers` 8-byte numbers, with their copies, exceed `cap` GiB.

    Called before the table is allocated. The copies are the rows before merging, and the keys they are merged by.
    """
    needed = COPIES * 8 * states * numbers / 2**30
    if needed > cap:
        raise Inapplicable(f"{what}: {states:,} states need {needed:.3g} GiB, cap={cap:g}: {way_out}")
