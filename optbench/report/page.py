"""report.html, one file that opens offline, and report.md: each a frame around the sections' own template parts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.report import export
from optbench.report.sections.base import Content


@dataclass(frozen=True)
class Part:
    """A section as the templates take it. figures: name, caption, picture, width and height of each."""

    name: str
    title: str
    content: Content
    figures: Sequence[Mapping[str, Any]]


def render(values: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """The page; every name in it is escaped."""
    environment = _environment(autoescape=True)
    files = {name: _template(name) for name in ("page.css", "page.js")}
    sections = [_values(part) | {"tables": {k: rows(v) for k, v in part.content.tables.items()}} for part in parts]
    live = next((part.content.values["live"] for part in parts if part.content.values.get("live")), None)
    frame = {"style": files["page.css"], "script": files["page.js"], "live": live}
    return str(environment.get_template("page.html.j2").render(values, sections=sections, **frame))


def markdown(values: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """The same words and tables, figures by name; names are escaped by the filter `md`."""
    environment = _environment(autoescape=False)
    environment.filters["md"] = export.md
    sections = [
        _values(part) | {"tables": {k: export.markdown(v) if len(v) else "" for k, v in part.content.tables.items()}}
        for part in parts
    ]
    return str(environment.get_template("page.md.j2").render(values, sections=sections))


def _template(name: str) -> str:
    return (resources.files("optbench.report") / "templates" / name).read_text(encoding="utf-8")


def _environment(autoescape: bool) -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template), autoescape=autoescape, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def _values(part: Part) -> dict[str, Any]:
    return {"name": part.name, "title": part.title, "figures": part.figures, "values": part.content.values}


def picture(path: Path) -> dict[str, Any]:
    """A PNG as a data URI with its size in CSS pixels, so that nothing moves while the page loads.

    256 colours, which flat lines and areas do not exceed to the eye, make a third of the bytes.
    """
    from PIL import Image

    with Image.open(path) as full:
        width, height = full.size
        buffer = BytesIO()
        full.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG")
    scale = 130 / export.DPI
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"picture": uri, "width": round(width * scale), "height": round(height * scale)}


def rows(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """A table as the template takes it: {"head": [...], "rows": [[...], ...], "high_first": [...]}."""
    high_first = [str(name) for name in table.attrs.get("high_first", ())]  # columns where the best is the highest
    body = table.to_numpy(dtype=object).tolist()
    return {"head": [str(name) for name in table.columns], "rows": body, "high_first": high_first}
