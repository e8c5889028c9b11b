"""report.html: one file that opens offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.report import export


def render(context: Mapping[str, Any]) -> str:
    """The page from its template; every name in it is escaped."""
    import jinja2

    source = resources.files("optbench.report") / "templates"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((source / "page.html.j2").read_text(encoding="utf-8"))
    style = (source / "page.css").read_text(encoding="utf-8")
    script = (source / "page.js").read_text(encoding="utf-8")
    return template.render(context, style=style, script=script)


def picture(path: Path) -> dict[str, Any]:
    """A PNG as a data URI with its size in CSS pixels, so that nothing moves while the page loads.

    256 colours, which flat lines and areas do not exceed to the eye, make a third of the bytes.
    """
    from PIL import Image

    with Image.open(path) as full:
        width, height = full.size
        held = BytesIO()
        full.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(held, "PNG")
    scale = 130 / export.DPI
    uri = "data:image/png;base64," + base64.b64encode(held.getvalue()).decode("ascii")
    return {"picture": uri, "width": round(width * scale), "height": round(height * scale)}


def rows(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """A table as the template takes it: {"head": [...], "rows": [[...], ...]}."""
    return {"head": [str(name) for name in table.columns], "rows": table.to_numpy(dtype=object).tolist()}


def markdown(values: Mapping[str, Any], texts: Mapping[str, pd.DataFrame]) -> str:
    """report.md: the same words, tables in pipes, figures by name; names are escaped by the filter `md`."""
    import jinja2

    source = (resources.files("optbench.report") / "templates" / "page.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["md"] = export.md
    tables = {name: export.markdown(table) if len(table) else "" for name, table in texts.items()}
    return environment.from_string(source).render(values, tables=tables)
