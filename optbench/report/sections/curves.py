"""Loss and metrics against what they cost: interactive, and as small multiples for paper."""

from __future__ import annotations

from optbench.report.analysis.findings import Findings
from optbench.report.analysis.statistics import median_interval
from optbench.report.analysis.study import Study
from optbench.report.figures import curves
from optbench.report.format import number
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences.measured_from import measured_from

CAPTIONS = {
    "curves_passes": "Training loss above the best known, or above the lowest seen, against passes: "
    "median over seeds with its interval.",
    "curves_seconds": "The same against the optimizer's own seconds.",
}


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    study = findings.study
    if not len(study.trials):
        return None
    figures = curves.figures(study, drawing.labels, drawing.styles, "passes")
    figures |= curves.figures(study, drawing.labels, drawing.styles, "seconds")
    values = {"coverage": " ".join([_coverage(study), *measured_from(study)]), "unit": study.unit}
    return Content(values, figures=figures, captions=CAPTIONS)


def _coverage(study: Study) -> str:
    """What the bands of the curves are."""
    sizes = sorted({len(rows) for rows in study.cells.values()})
    if not sizes:
        return ""
    if sizes[-1] == 1:
        return "There is one seed, so there is no band."
    level = median_interval([0.0] * sizes[-1]).level
    kind = "the exact sign-test interval for the median" if sizes[-1] > 5 else "the range of the seeds"
    return f"Bands are {kind}. It covers the median with probability {number(100 * level)} % at {sizes[-1]} seeds."


SECTION = Section("curves", "Curves", content)
