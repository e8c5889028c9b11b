"""Where who minimises fast is not who generalises: a finding, and no error of either answer."""

from __future__ import annotations

from optbench.report.analysis.ranking import Ranking
from optbench.report.format import listed

MAX_NAMED = 4  # optimizers whose places are given
MIN_PLACES = 3  # of difference between two rank orders that is worth a sentence


def disagreement(first: Ranking, second: Ranking) -> list[str]:
    """Whether the leaders differ, whether a pair is reversed, and whose place changes most.

    first: who minimises. second: who generalises. Empty where either ranks fewer than two.
    """
    common = [label for label in first.order if label in second.order]
    if len(first.order) < 2 or len(second.order) < 2 or len(common) < 2:
        return []
    out = []
    a, b = first.order[0], second.order[0]
    if a == b:
        out.append(f"{a} has the highest score on both.")
    else:
        out.append(f"{a} has the highest score in minimising, {b} in generalising.")
    reversed_ = [
        f"{x} minimises faster than {y} and generalises worse"
        for x in common
        for y in common
        if x != y and first.claim(x, y) == "better" and second.claim(x, y) == "worse"
    ]
    out.append(
        f"{listed(reversed_)}." if reversed_ else "No pair is claimed one way by one and the other way by the other."
    )
    moved = sorted(common, key=lambda label: -abs(first.order.index(label) - second.order.index(label)))
    places = [
        f"{label} is number {here + 1} in minimising and {there + 1} in generalising"
        for label in moved[:MAX_NAMED]
        if abs((here := first.order.index(label)) - (there := second.order.index(label))) >= MIN_PLACES
    ]
    return [*out, f"{listed(places)}."] if places else out
