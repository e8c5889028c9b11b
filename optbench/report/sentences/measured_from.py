"""Where targets and gaps are measured from the lowest loss of the study itself, that is said beside them."""

from __future__ import annotations

from optbench.core.trial import LOWEST_SEEN
from optbench.report.analysis.lowest_seen import left_to_study, left_to_study_of
from optbench.report.analysis.study import Study
from optbench.report.format import listed


def measured_from(study: Study) -> list[str]:
    """A sentence where there are such problems; none where every best loss is stated."""
    own = left_to_study_of(study.facts, study.problems)
    if not own:
        return []
    where = "" if len(own) == len(study.problems) else f" of {listed(own)}"
    some = any(not left_to_study(study.facts[name]) for name in own)  # stated, but for one split of the data alone
    of_it = " on other splits of their data" if some else ""
    return [
        f"Targets and gaps{where} are measured from the {LOWEST_SEEN}, for nobody states a best loss{of_it}: "
        "another entrant that goes lower moves them."
    ]
