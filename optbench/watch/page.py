"""The moving picture as one HTML file that opens from disk with the network off."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

from jinja2 import Environment, FileSystemLoader

from optbench.watch.scene import Scene, surface_picture

TEMPLATES = File(__file__).parent / "templates"


def html(scene: Scene, command: str) -> str:
    """The page of a scene. command: what made it, to be shown."""
    return render(
        "watch.html.j2",
        scene=scene,
        command=command,
        surface=embedded(surface_picture(scene.surface), "png"),
        data=as_json(scene.data()),
        script=(TEMPLATES / "watch.js").read_text(encoding="utf-8"),
    )


def render(template: str, folders: Sequence[File] = (), **values: Any) -> str:
    """A page with the style and the player that all moving pictures share. folders: of further templates."""
    loader = FileSystemLoader([*folders, TEMPLATES])
    templates = Environment(loader=loader, autoescape=True, keep_trailing_newline=True)
    shared = {name: (TEMPLATES / file).read_text(encoding="utf-8") for name, file in SHARED.items()}
    return templates.get_template(template).render(**shared, **values)


SHARED = {"style": "page.css", "player": "player.js"}


def as_json(data: Any) -> str:
    """Data as it may stand in a script element. Raises ValueError for a number that is not finite."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def embedded(content: bytes, kind: str) -> str:
    """A picture as an address that holds it. kind: "png", "webp"."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()
