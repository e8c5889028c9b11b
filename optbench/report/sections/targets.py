"""What it costs to reach each target, all problems at once."""

from __future__ import annotations

from functools import partial

from optbench.report import charts as charts_of
from optbench.report.analysis.findings import Findings
from optbench.report.figures import overview
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences.measured_from import measured_from


def content(findings: Findings, drawing: Drawing) -> Content | None:
    """None where no trial was planned."""
    if not len(findings.study.trials):
        return None
    charts = {"targets": charts_of.targets(findings.study, _by_rank(findings), findings.costs)}
    figures = {"targets": partial(overview.targets, findings.study, drawing.labels, findings.costs)}
    seen = " ".join(measured_from(findings.study))
    return Content(
        {"seen": seen},
        {"costs": findings.costs},
        {},
        charts,
        {},
        figures,
        {"targets": f"Median {findings.study.unit} to each target."},
    )


def _by_rank(findings: Findings) -> list[str]:
    """All optimizers, the best first."""
    return [*dict.fromkeys([*findings.ranking.order, *findings.ranking.apart, *findings.study.labels])]


SECTION = Section("targets", "Cost to target", content)
