"""The parts of a report's page that unfold when they are opened, unpacked."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

_PART = re.compile(r'<script type="text/plain" data-name="([^"]*)">([^<]*)</script>')


def parts(page: str) -> dict[str, Any]:
    """{name: what is stored under it}: sections and views as {"html", "charts"}, "minute", and curves."""
    found = {unescape(name): gzip.decompress(base64.b64decode(text)) for name, text in _PART.findall(page)}
    return {name: json.loads(text) for name, text in found.items()}


def unfolded(page: str | Path) -> str:
    """The page and, behind it, the HTML of everything that unfolds."""
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    return "\n".join([_PART.sub("", text), *(part["html"] for part in parts(text).values() if "html" in part)])
