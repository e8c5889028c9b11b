"""The first thing on the page: who won, how sure that is, who reached what at which cost."""

from __future__ import annotations

from optbench.report.analysis.findings import Findings
from optbench.report.sections.base import Content, Drawing, Section
from optbench.report.sentences.verdict import answers


def content(findings: Findings, drawing: Drawing) -> Content:
    """The sentences by question, and the notes on what could not be read."""
    return Content({"answers": [answer._asdict() for answer in answers(findings)], "notes": findings.study.notes})


SECTION = Section("verdict", "Verdict", content)
