"""What a section is: a name, a title, and what it puts on the page and into the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from optbench.report.analysis.findings import Findings
from optbench.report.figures.style import Style


@dataclass(frozen=True)
class Drawing:
    """How optimizers are drawn. labels: those in printed figures, in the order of every legend."""

    styles: Mapping[str, Style]
    labels: Sequence[str]


@dataclass(frozen=True)
class Content:
    """What a section holds.

    values: what its two template parts need, as plain values. numbers: {name: table in full}, written as CSV.
    tables: {name: table as text}, on the page and written as LaTeX and Markdown. charts: {name: chart}, drawn by the
    page (`optbench.report.charts`). views: {"problem=NAME" or "optimizer=NAME": values for templates/views/}.
    figures: {name: what draws it for print, called only where it is asked for; it gives None where there is nothing
    to draw}. captions: {start of the name of a figure or chart: its caption}.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    charts: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One section. name: of its anchor and of templates/sections/<name>.html.j2 and .md.j2.

    content: what it holds for these findings, or None where the page has no such section.
    """

    name: str
    title: str
    content: Callable[[Findings, Drawing], Content | None]
