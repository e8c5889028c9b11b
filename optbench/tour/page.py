"""A topic as one HTML page, and the index of the book."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optbench.tour.picture import Panel, Picture
from optbench.tour.topic import Topic
from optbench.watch.page import as_json, embedded, render

TEMPLATES = Path(__file__).parent / "templates"


class Neighbour(NamedTuple):
    """A page that another one links to."""

    name: str
    title: str


class Card(NamedTuple):
    """What the index shows of a page. image: its thumbnail, as WebP."""

    name: str
    title: str
    question: str
    image: bytes


def page(
    name: str,
    topic: Topic,
    picture: Picture,
    code: str,
    before: Neighbour | None = None,
    after: Neighbour | None = None,
    alone: bool = False,
) -> str:
    """The page of a topic. before, after: the pages beside it, where there are any. alone: the picture only."""
    return render(
        "topic.html.j2",
        [TEMPLATES],
        name=name,
        topic=topic,
        picture=picture,
        code=code,
        before=before,
        after=after,
        alone=alone,
        keys_of=keys,
        data=as_json(picture.data()),
        script=(TEMPLATES / "picture.js").read_text(encoding="utf-8"),
    )


def index(cards: Sequence[Card], command: str) -> str:
    """The first page of the book. command: what made it, to be shown."""
    shown = [card._asdict() | {"image": embedded(card.image, "webp")} for card in cards]
    return render("index.html.j2", [TEMPLATES], cards=shown, command=command)


def keys(panel: Panel) -> list[dict[str, Any]]:
    """The legend of a panel: its labelled layers, each label once."""
    found = {layer["label"]: layer for layer in reversed(panel.layers) if layer.get("label")}
    return [
        layer | {"colour": layer["colour"] if isinstance(layer["colour"], str) else "#777777"}
        for layer in reversed(found.values())
    ]
