"""What a page draws: panels of layers over one slider, as plain numbers that a browser and matplotlib both draw."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.report.figures.style import COLOURS

BLUE, ORANGE, GREEN, PINK, SKY, AMBER, OLIVE = COLOURS
INK, GREY, SOFT = "#222222", "#777777", "#c9ced4"
GREYS = ("#000000", "#ffffff")
TWO_SIDES = ("#0072B2", "#f7f7f7", "#D55E00")  # below zero, zero, above
HEAT = ("#fffbe8", "#E69F00", "#8c2d04")
DIGITS = 4  # significant ones, of every number on a page

Layer = dict[str, Any]


@dataclass(frozen=True)
class Frames:
    """A value that changes with the slider: one for each of its places, or the last from there on."""

    values: Sequence[Any]


@dataclass(frozen=True)
class Control:
    """The slider. label: what it changes. values: what is said at each place. moves: whether it is time or cost, so
    that the picture plays by itself. start: the place shown first where it does not. seconds: of a whole run.
    """

    label: str
    values: Sequence[str]
    moves: bool = True
    start: int = 0
    seconds: float = 8.0


@dataclass(frozen=True)
class Panel:
    """One pair of axes. x, y: their ends. log: which are logarithmic, of "xy". bare: without axes. shape: height to
    width. share: of the page's width, relative to the others. says: what a reader who sees no picture is told.
    """

    title: str
    layers: Sequence[Layer]
    x: Any = (0.0, 1.0)
    y: Any = (0.0, 1.0)
    x_label: str = ""
    y_label: str = ""
    log: str = ""
    bare: bool = False
    shape: float = 0.7
    share: float = 1.0
    says: str = ""
    ticks: Sequence[tuple[float, str]] = ()  # of the x axis, where they are no numbers
    numbered: bool = True  # the y axis


@dataclass(frozen=True)
class Picture:
    """Everything that a page shows. caption: what came out, in a sentence or two with its figures. cover: the panels of
    its thumbnail.
    """

    control: Control
    panels: Sequence[Panel]
    caption: str = ""
    cover: Sequence[int] = (0, 1)

    def data(self) -> dict[str, Any]:
        """It as JSON takes it: few digits, null for what is not finite."""
        control = {name: getattr(self.control, name) for name in ("label", "values", "moves", "start", "seconds")}
        panels = [
            {
                name: getattr(panel, name)
                for name in ("layers", "x", "y", "x_label", "y_label", "log", "bare", "ticks", "numbered")
            }
            for panel in self.panels
        ]
        found: dict[str, Any] = plain({"control": control, "panels": panels})
        return found


def plain(value: Any) -> Any:
    """Arrays, tensors, tuples and frames as lists, numbers and mappings."""
    if isinstance(value, Frames):
        return {"frames": [plain(one) for one in value.values]}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) and abs(value) < 1e30 else None
    return value


def line(
    x: Any,
    y: Any,
    colour: str,
    label: str = "",
    width: float = 2.2,
    dash: Sequence[int] = (),
    upto: Any = None,
    alpha: float = 1.0,
) -> Layer:
    """A line through points; null breaks it. upto: how many of its points are drawn."""
    return {"kind": "line", "x": x, "y": y, "colour": colour, "label": label, "width": width, "dash": dash} | {
        "upto": upto,
        "alpha": alpha,
    }


def dots(x: Any, y: Any, colour: Any, label: str = "", size: float = 3.5, edge: str = "", alpha: float = 1.0) -> Layer:
    """Circles. colour: of all, or of each. size: the radius in pixels."""
    return {
        "kind": "dots",
        "x": x,
        "y": y,
        "colour": colour,
        "label": label,
        "size": size,
        "edge": edge,
        "alpha": alpha,
    }


def bars(x: Any, y: Any, colour: Any, label: str = "", width: float = 0.8) -> Layer:
    """Bars from 0. width: on the x axis."""
    return {"kind": "bars", "x": x, "y": y, "colour": colour, "label": label, "width": width}


def boxes(items: Any, fill: Any, edge: str = "", label: str = "", alpha: float = 1.0) -> Layer:
    """Rectangles (left, right, bottom, top). fill: of all, or of each."""
    return {"kind": "boxes", "items": items, "colour": fill, "edge": edge, "label": label, "alpha": alpha}


def arrows(items: Any, colour: Any, width: float = 2.0, label: str = "", alpha: float = 1.0) -> Layer:
    """Arrows (from x, from y, to x, to y). colour: of all, or of each."""
    return {"kind": "arrows", "items": items, "colour": colour, "width": width, "label": label, "alpha": alpha}


def text(items: Any, colour: Any = INK, size: float = 13.0, align: str = "center", bold: bool = False) -> Layer:
    """Words (x, y, text) with their middles at half height. size: in pixels of a panel 600 wide."""
    return {"kind": "text", "items": items, "colour": colour, "size": size, "align": align, "bold": bold}


def image(
    values: Any,
    extent: Sequence[float],
    limits: tuple[float, float],
    palette: Sequence[str] = GREYS,
    alpha: float = 1.0,
    smooth: bool = False,
    fade: bool = False,
) -> Layer:
    """Numbers as colours. values: (rows, columns), the first row on top, or frames of such. extent: left, right,
    bottom, top. limits: the numbers of the first and last colour of the palette. fade: low numbers are transparent.
    """
    many = values.values if isinstance(values, Frames) else [values]
    arrays = [np.asarray(one, dtype=float) for one in many]
    low, high = limits
    levels = [
        np.clip(np.nan_to_num((one - low) / ((high - low) or 1.0)) * 255, 0, 255).astype(np.uint8) for one in arrays
    ]
    coded = [base64.b64encode(one.tobytes()).decode() for one in levels]
    pixels = Frames(coded) if isinstance(values, Frames) else coded[0]
    return {
        "kind": "image",
        "pixels": pixels,
        "rows": arrays[0].shape[0],
        "columns": arrays[0].shape[1],
        "extent": list(extent),
        "palette": list(palette),
        "alpha": alpha,
        "smooth": smooth,
        "fade": fade,
    }


def at(value: Any, k: int) -> Any:
    """A value of `Picture.data()` at one place of the slider, as the page finds it."""
    if isinstance(value, dict) and "frames" in value:
        return value["frames"][min(k, len(value["frames"]) - 1)]
    return value


def span(*values: Any, margin: float = 0.06) -> tuple[float, float]:
    """The ends of an axis that holds all finite numbers in these arrays."""
    every = np.concatenate([np.ravel(np.asarray(one, dtype=float)) for one in values])
    every = every[np.isfinite(every)]
    low, high = float(every.min()), float(every.max())
    air = margin * ((high - low) or 1.0)
    return low - air, high + air


def seen_at(costs: Sequence[Sequence[float]], count: int) -> tuple[list[float], list[list[int]]]:
    """(count) costs that grow with the square, and of each run the index of the point that it was at, then."""
    last = max(run[-1] for run in costs)
    shown = [last * (k / (count - 1)) ** 2 for k in range(count)]
    return shown, [[max(0, int(np.searchsorted(run, cost, "right")) - 1) for cost in shown] for run in costs]
