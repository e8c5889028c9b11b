"""report.html: one file that opens offline."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd


def render(context: Mapping[str, Any]) -> str:
    """The page from its template; every name in it is escaped."""
    import jinja2

    source = resources.files("optbench.report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((source / "page.html.j2").read_text(encoding="utf-8"))
    style = (source / "page.css").read_text(encoding="utf-8")
    return template.render(context, style=style)


def picture(path: Path) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def rows(table: pd.DataFrame) -> dict[str, Sequence[Any]]:
    """A table as the template takes it: {"head": [...], "rows": [[...], ...]}."""
    return {"head": [str(name) for name in table.columns], "rows": table.to_numpy(dtype=object).tolist()}
