"""A topic as a Jupyter notebook, and its picture in one: made from the same source as the page."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping
from typing import Any

from optbench.report.figures.style import pyplot
from optbench.tour.page import page
from optbench.tour.picture import Picture
from optbench.tour.still import figure
from optbench.tour.topic import Topic, topic

HEIGHT = 640  # pixels of a picture in a notebook


class Shown:
    """A picture that moves where a notebook shows HTML, and stands still where it shows an image."""

    def __init__(self, name: str, picture: Picture) -> None:
        self.name, self.picture = name, picture

    def _repr_html_(self) -> str:
        inside = html.escape(page(self.name, topic(self.name), self.picture, "", alone=True))
        return f'<iframe srcdoc="{inside}" width="100%" height="{HEIGHT}" style="border:0"></iframe>'

    def _repr_png_(self) -> bytes:
        drawn, stream = figure(self.picture), io.BytesIO()
        try:
            drawn.savefig(stream, format="png")
        finally:
            pyplot().close(drawn)
        return stream.getvalue()


def show(name: str, data: Any) -> Shown:
    """The picture of what a topic's code left. Raises RequestError for an unknown topic."""
    return Shown(name, topic(name).draw(data))


def text(name: str, one: Topic, arguments: Mapping[str, Any]) -> str:
    """The notebook of a topic, as JSON. arguments: of its study, in place of the defaults."""
    words = [f"# {one.title}", f"**{one.question}**", " ".join(one.says)]
    if one.note:
        words.append(f"> {one.note}")
    shown = f'from optbench.tour.notebook import show\n\nshow("{name}", {one.result})'
    cells = [
        _cell("words", "markdown", "\n\n".join(words)),
        _cell("study", "code", one.code(**arguments)),
        _cell("picture", "code", shown),
        _cell("exercise", "markdown", f"## Exercise\n\n{one.exercise}"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1) + "\n"


def _cell(identity: str, kind: str, source: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": identity, "metadata": {}, "source": source}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
