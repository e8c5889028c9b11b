"""The moving picture as one HTML file that opens from disk with the network off."""

from __future__ import annotations

import base64
import json
from pathlib import Path as File

from jinja2 import Environment, FileSystemLoader

from optbench.watch.scene import Scene, surface_picture

TEMPLATES = File(__file__).parent / "templates"


def html(scene: Scene, command: str) -> str:
    """The page of a scene. command: what made it, to be shown."""
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, keep_trailing_newline=True)
    data = json.dumps(scene.data(), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return templates.get_template("watch.html.j2").render(
        scene=scene,
        command=command,
        surface="data:image/png;base64," + base64.b64encode(surface_picture(scene.surface)).decode(),
        data=data,
        style=(TEMPLATES / "watch.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "watch.js").read_text(encoding="utf-8"),
    )
