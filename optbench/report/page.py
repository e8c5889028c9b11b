"""report.html, one file that opens offline, and report.md: each a frame around the sections' own template parts.

The answer and the leaderboard are in the page as they stand. Every other section, and the view of every problem and
optimizer, is packed and unfolds when it is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from optbench.report import export
from optbench.report.live import packed_json
from optbench.report.sections.base import Content

SHOWN = ("verdict", "summary")  # sections that are read before anything is opened
OPENED = ("comparison",)  # opened with the page, where there is one
STYLES = ("page.css", "chart.css")
SCRIPTS = ("inflate", "statistics", "standings", "chart", "curves", "leaders", "page")


@dataclass(frozen=True)
class Part:
    """A section as the templates take it."""

    name: str
    title: str
    content: Content


def render(values: Mapping[str, Any], parts: Sequence[Part], data: Mapping[str, Any]) -> str:
    """The page; every name in it is escaped. data: {name: plain values} that the scripts unpack by name."""
    environment = _environment(autoescape=True)
    environment.filters["breakable"] = _breakable
    environment.globals["addresses"] = frozenset(name for part in parts for name in part.content.views)
    sections, stored = [], []
    for part in parts:
        html = _html(environment, f"sections/{part.name}", values, part.content.tables, part.content)
        one: dict[str, Any] = {"name": part.name, "title": part.title, "html": html, "part": f"section={part.name}"}
        if part.name not in SHOWN:
            stored.append((one["part"], {"html": html, "charts": _charts(part.content.charts)}))
            one |= {"html": None, "opened": part.name in OPENED}
        sections.append(one)
        for address, view in part.content.views.items():
            kind, _, name = address.partition("=")
            html = _html(environment, f"views/{kind}", values, view["tables"], None, view)
            stored.append((address, {"title": name, "html": html, "charts": _charts(view["charts"])}))
    stored += [*data.items()]
    frame = {
        "style": "\n".join(_template(name) for name in STYLES),
        "script": "\n".join(_template(f"scripts/{name}.js") for name in SCRIPTS),
        "parts": [{"name": name, "packed": packed_json(value)} for name, value in stored],
    }
    return str(environment.get_template("page.html.j2").render(values, sections=sections, **frame))


def _html(
    environment: Any,
    name: str,
    values: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    content: Content | None,
    view: Mapping[str, Any] | None = None,
) -> str:
    """One template part filled in: of a section (`content`) or of a view."""
    own: dict[str, Any] = {"tables": _Tables(tables), "view": view}
    if view is not None:
        own |= {"charts": view["charts"]}
    if content is not None:
        own |= {"values": content.values, "charts": content.charts, "captions": _Captions(content.captions)}
    return str(environment.get_template(f"{name}.html.j2").render({**values, **own}))


def _breakable(text: object) -> Any:
    """Settings that may be broken after a comma and nowhere else."""
    from markupsafe import Markup, escape

    return escape(text).replace(",", Markup(",<wbr>"))


class _Tables(dict[str, dict[str, Any]]):
    """Tables as the templates take them, made when a template first asks."""

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        super().__init__()
        self.tables = tables

    def __missing__(self, name: str) -> dict[str, Any]:
        self[name] = rows(self.tables[name])
        return self[name]


class _Captions(dict[str, str]):
    """The caption of a figure or chart: the several pages of one share that of their common start."""

    def __missing__(self, name: str) -> str:
        return next((text for start, text in self.items() if name.startswith(start)), "")


def _charts(charts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: chart for name, chart in charts.items() if chart}


def markdown(values: Mapping[str, Any], parts: Sequence[Part], figures: Mapping[str, str]) -> str:
    """The same words and tables; names are escaped by the filter `md`. figures: {name: caption} that can be drawn."""
    environment = _environment(autoescape=False)
    environment.filters["md"] = export.md
    sections = [
        {"name": part.name, "title": part.title, "values": part.content.values}
        | {"tables": {k: export.markdown(v) if len(v) else "" for k, v in part.content.tables.items()}}
        for part in parts
    ]
    return str(environment.get_template("page.md.j2").render(values, sections=sections, figures=figures))


@cache
def _template(name: str) -> str:
    return (resources.files("optbench.report") / "templates" / name).read_text(encoding="utf-8")


def _environment(autoescape: bool) -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template), autoescape=autoescape, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def rows(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """A table as the template takes it: {"head": [...], "rows": [[...], ...], "high_first": [...]}."""
    high_first = [str(name) for name in table.attrs.get("high_first", ())]  # columns where the best is the highest
    body = table.to_numpy(dtype=object).tolist()
    return {"head": [str(name) for name in table.columns], "rows": body, "high_first": high_first}
