"""On how many splits of the data a report rests, so for which data its intervals speak."""

from __future__ import annotations

from optbench.report.analysis.study import Study
from optbench.report.format import listed, plural


def rests_on(study: Study) -> list[str]:
    """A sentence where any problem holds data out; none of functions alone."""
    several = [name for name in study.problems if len(study.splits[name]) > 1]
    if not several:
        held_out = any(fact.get("valid") or fact.get("test") for fact in study.facts.values())
        return (
            ["All seeds have one split of each problem's data, so intervals say nothing of others."] if held_out else []
        )
    counts = sorted({len(study.splits[name]) for name in several})
    how_many = f"{counts[0]} to {counts[-1]} splits" if len(counts) > 1 else plural(counts[0], "split")
    one = [name for name in study.problems if name not in several]
    text = f"Seeds have {how_many} of the data of {listed(several)}, so intervals cover the split as well as the seed."
    rest = f" {listed(one)} {'has' if len(one) == 1 else 'have'} one." if one else ""
    seeds = study.trials.groupby(["problem", "label"], sort=False)["seed"].nunique()
    if int(seeds.max()) > counts[-1]:
        rest += " Seeds that share a split are not independent draws of it: with as many splits as seeds none do."
    return [text + rest]
