"""The sections of the page, in order. A new one is a line here, a file beside this one, and two template parts."""

from __future__ import annotations

from optbench.report.sections import (
    comparison,
    curves,
    evidence,
    generalisation,
    machine,
    optimizers,
    pairs,
    problems,
    robustness,
    speed,
    statuses,
    summary,
    targets,
    tuning,
    verdict,
)
from optbench.report.sections.base import Section

SECTIONS: tuple[Section, ...] = (
    verdict.SECTION,
    comparison.SECTION,
    summary.SECTION,
    generalisation.SECTION,
    curves.SECTION,
    targets.SECTION,
    pairs.SECTION,
    robustness.SECTION,
    evidence.SECTION,
    tuning.SECTION,
    problems.SECTION,
    optimizers.SECTION,
    speed.SECTION,
    statuses.SECTION,
    machine.SECTION,
)
