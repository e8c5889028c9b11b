"""What the methods wrapped from scipy share: no end but the budget's, and a box around initial networks."""

from __future__ import annotations

import sys

import numpy as np

from optbench.core.objective import Objective
from optbench.optimizers import arrays

UNLIMITED = sys.maxsize >> 33  # iterations: the budget ends the run, not scipy (its compiled code counts in 32 bits)


def box(f: Objective, reach: float) -> tuple[arrays.Array, arrays.Array]:
    """Lower and upper bounds (D,): the mean of 32 initial networks, give or take `reach` deviations (never none)."""
    x = arrays.start(f, 32)
    centre, spread = x.mean(0), x.std(0, ddof=1)
    half = reach * np.where(spread > 0, spread, arrays.spread(f))
    return centre - half, centre + half
