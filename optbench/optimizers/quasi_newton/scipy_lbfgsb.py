"""L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995) as scipy has it, without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from scipy.optimize import minimize

from optbench.core.objective import Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check_count, check_positive
from optbench.optimizers.scipy_options import UNLIMITED

MAX_SEARCH = 20  # evaluations of one line search after which scipy forgets its pairs


@dataclass(frozen=True)
class LBFGSB:
    """Limited-memory BFGS with its own line search, on the full batch."""

    memory: int = 10  # pairs of steps and gradient changes that model the curvature
    ftol: float = 0.0  # ends where a step lowers the loss by less than this share of it
    gtol: float = 1e-10  # ends where no entry of the gradient is larger

    needs: ClassVar[str] = "grad"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("memory", self.memory, 1)
        check_positive("ftol", self.ftol, zero=True)
        check_positive("gtol", self.gtol, zero=True)

    def minimise(self, f: Objective) -> None:
        pairs = Pairs(f.dim, self.memory)
        loss = arrays.value_and_grad(f)

        def counted(x: arrays.Array) -> tuple[float, arrays.Array]:
            f.charge_own(pairs.before_evaluation())
            return loss(x)

        options: Any = {"maxcor": self.memory, "ftol": self.ftol, "gtol": self.gtol, "maxls": MAX_SEARCH}
        options |= {"maxiter": UNLIMITED, "maxfun": UNLIMITED}
        search: Any = {"jac": True, "method": "L-BFGS-B", "options": options, "callback": pairs.after_iteration}
        minimize(counted, arrays.start(f), **search)


class Pairs:
    """How many pairs scipy holds, followed from outside, and what it computes with them.

    A pair that it skips because the curvature is not positive, or forgets because a factor is singular, cannot be seen:
    then the count is somewhat too high. A line search of its own ends with positive curvature as a rule.
    """

    def __init__(self, dim: int, memory: int) -> None:
        self.held = 0
        self._dim, self._memory = dim, memory
        self._accepted = False  # whether a point was accepted since the latest evaluation
        self._searched = -1  # evaluations of the line search under way; the one at the start is of none

    def after_iteration(self, _x: arrays.Array) -> None:
        """The line search has ended: before it evaluates again, scipy updates its pairs."""
        self.held = min(self.held + 1, self._memory)
        self._accepted, self._searched = True, 0

    def before_evaluation(self) -> float:
        """FLOPs since the evaluation before."""
        self._searched += 1
        if self._searched > MAX_SEARCH:
            self.held, self._searched = 0, 1
        work = 4.0 * self._dim  # the slope along the direction, and the point at another step
        if self._accepted or (self._searched == 1 and not self.held):
            work += iteration_work(self._dim, self.held)
        self._accepted = False
        return work


def iteration_work(dim: int, held: int) -> float:
    """FLOPs of an iteration of scipy's code with so many pairs, without bounds, beside its line search.

    A pair costs its products with the step (4 D) and with the gradient's change (4 D), two with the gradient (4 D) and
    its part of the direction (5 D). Vectors cost 12 D more, of which the last pair's products with itself, 4 D, are
    known already. Small matrices: T and its factor (5/6 h^3), K, its factors and solves (8/3 h^3), two solves (8 h^2),
    and what fills them (3 h^2).
    """
    if not held:
        return 8.0 * dim  # steepest descent: the step that a quadratic model asks for, and norms
    return dim * (17 * held + 8) + 3.5 * held**3 + 11 * held**2
