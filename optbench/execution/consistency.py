"""Numbers that no honest trial can have: what an optimizer did to its meter or its curve shows in the record."""

from __future__ import annotations

import math
from itertools import pairwise

from optbench.core.meter import Costs, Spent
from optbench.core.outcome import Outcome
from optbench.core.scoring import Point

CLOCK_SLACK = 0.05  # seconds that two clocks of one trial may differ by
COUNT_SLACK = 0.01  # share that FLOPs may differ by from those of the counts: costs of a call are rounded


def inconsistency(outcome: Outcome, lane: int, costs: Costs, passes: float, elapsed: float, needs: str) -> str | None:
    """What cannot be in one lane's outcome, as a phrase; None where all is possible.

    costs: of a call, taken from the problem before the optimizer ran. passes: the budget. elapsed: seconds that the
    optimizer ran by a clock that it does not hold. needs: the oracle that it declares. The last certificate of an
    exact method may cost one pass beyond the budget.
    """
    limit = costs.limit(passes) + (costs.one_pass if outcome.certificates[lane] else 0)
    if needs == "value" and outcome.spent.backward:
        return f"needs = 'value', but {outcome.spent.backward} samples were sent backward"
    return (
        _counts(outcome.spent, outcome.nonfinite[lane], costs, limit)
        or _clock(outcome.spent.seconds, elapsed)
        or _curve(outcome.curves[lane], outcome.spent.passes)
    )


def _counts(spent: Spent, nonfinite: int, costs: Costs, limit: int) -> str | None:
    for name in ("forward", "backward", "evaluations", "flops"):
        if getattr(spent, name) < 0:
            return f"{name} is {getattr(spent, name)}"
    if not 0 <= spent.products <= spent.backward or not 0 <= spent.product_flops <= spent.flops:
        return f"{spent.products} of {spent.backward} samples backward went through Hessian-vector products"
    if not 0 <= nonfinite <= spent.evaluations:
        return f"{nonfinite} of {spent.evaluations} evaluations were not finite"
    if spent.flops > limit:
        return f"spent {spent.flops / costs.one_pass:.4g} of {limit / costs.one_pass:.4g} passes"
    if not math.isclose(spent.passes, spent.flops / costs.one_pass, rel_tol=1e-9, abs_tol=1e-9):
        return f"{spent.passes:.4g} passes, but the FLOPs are those of {spent.flops / costs.one_pass:.4g}"
    backward, flops = spent.backward - spent.products, spent.flops - spent.product_flops
    in_passes = costs.of(spent.forward, backward)
    in_batches = (spent.forward * costs.forward + backward * costs.backward) / costs.batch
    slack = COUNT_SLACK * in_passes + spent.evaluations + 1
    if not min(in_passes, in_batches) - slack <= flops <= max(in_passes, in_batches) + slack:
        return f"{flops:.4g} FLOPs, but the samples sent forward and backward cost {in_passes:.4g}"
    return None


def _clock(seconds: float, elapsed: float) -> str | None:
    if not seconds >= -CLOCK_SLACK:
        return f"{seconds:.4g} seconds"
    if seconds > elapsed + CLOCK_SLACK:
        return f"{seconds:.4g} seconds by its clock, but it ran for {elapsed:.4g}"
    return None


def _curve(curve: list[Point], passes: float) -> str | None:
    if not curve or curve[0]["passes"] != 0:
        return "the curve does not begin at 0 passes"
    costs = [point["passes"] for point in curve]
    if not all(before <= after for before, after in pairwise(costs)):
        return "the curve goes back in passes"
    if costs[-1] > passes:
        return f"the curve goes on to {costs[-1]:.4g} passes, {passes:.4g} were spent"
    return None
