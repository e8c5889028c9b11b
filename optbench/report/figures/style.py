"""One style for everything: a colour, a dash and a marker an optimizer, the same in every figure of a report."""

from __future__ import annotations

import math
import os
import re
import sys
import textwrap
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito's palette without black and with its yellow darkened to be seen on white: told apart under the common
# colour deficiencies. Past seven optimizers, dash and marker tell those of one colour apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F6A00")
# Where three families or more take part, each has shades of its own, so that a colour says what kind of method it is.
SHADES = {
    "gradient": ("#0072B2", "#56B4E9", "#4C5FD5", "#7A9CC6"),
    "quasi-Newton": ("#8E5BC0", "#B98AD8"),
    "swarm": ("#D55E00", "#F0944D"),
    "colony": ("#B2182B", "#E06C75"),
    "evolution": ("#009E73", "#5BC29F", "#7CB342"),
    "direct search": ("#CC79A7", "#A8487F"),
    "dynamic programming": ("#7F6A00", "#B39B1F"),
    "plugin": ("#E69F00", "#A66F00"),
    "random": ("#777777",),
}
MIN_FAMILIES = 3
DASHES = ("solid", "dashed", "dotted", "dashdot")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
GREY = "#777777"
MAX_DRAWN = 16  # optimizers in a printed figure; more could not be told apart
PAPER = 7.0  # inches: the text width of a two-column paper


@dataclass(frozen=True)
class Medium:
    """What a figure is for. type, wide, high: times the size of letters, lines and marks, the width and the height.

    most: optimizers that are drawn. columns, page: of small multiples, and how many of them make a figure.
    """

    type: float
    wide: float
    high: float
    most: int
    columns: int
    page: int


MEDIA = {"paper": Medium(1.0, 1.0, 1.0, MAX_DRAWN, 3, 12), "talk": Medium(1.5, 1.3, 1.5, 8, 2, 4)}
_medium: ContextVar[Medium] = ContextVar("medium", default=MEDIA["paper"])


@contextmanager
def medium(name: str) -> Iterator[None]:
    """Figures that are drawn meanwhile are for this medium."""
    before = _medium.set(MEDIA[name])
    try:
        yield
    finally:
        _medium.reset(before)


def most_drawn() -> int:
    """Optimizers in a printed figure of the medium."""
    return _medium.get().most


def panels_across(panels: int) -> int:
    """How many of some small multiples stand side by side."""
    return min(_medium.get().columns, panels)


def panels_a_page() -> int:
    """How many small multiples a figure takes."""
    return _medium.get().page


def letters(points: float) -> float:
    """The size of letters in the medium, of those that a paper has."""
    return points * _medium.get().type


@dataclass(frozen=True)
class Style:
    """How one optimizer is drawn."""

    colour: str
    dash: str
    marker: str


def styles(labels: Sequence[str], families: Mapping[str, str] | None = None) -> dict[str, Style]:
    """A style for each label: by its name where that is free, so that runs with other entrants draw it alike.

    families: of each label, where colours are to tell them apart.

    A name asks for a colour and a marker. It gets the next one that is used least, so that colours tell apart as many
    as there are colours; the dash counts how often the colour was given before.
    """
    of = families if families and len({families[label] for label in labels}) >= MIN_FAMILIES else {}
    used: dict[str, dict[int, int]] = {}
    markers = dict.fromkeys(range(len(MARKERS)), 0)
    out = {}
    for label in labels:
        wanted = zlib.crc32(label.encode())
        family = of.get(label, "")
        palette = SHADES.get(family, SHADES["plugin"]) if of else COLOURS
        colours = used.setdefault(family, dict.fromkeys(range(len(palette)), 0))
        colour, marker = _free(colours, wanted), _free(markers, wanted // len(palette))
        dash = DASHES[(colours[colour] - 1) % len(DASHES)]
        out[label] = Style(palette[colour], dash, MARKERS[marker])
    return out


def _free(used: dict[int, int], wanted: int) -> int:
    """The first of the least used from `wanted` on, counted as used once more."""
    least, n = min(used.values()), len(used)
    found = next(k % n for k in range(wanted % n, wanted % n + n) if used[k % n] == least)
    used[found] += 1
    return found


def pyplot() -> Any:
    """matplotlib.pyplot in the house style: deterministic, with text kept as text in SVG.

    On the Agg backend, unless pyplot is in use already, or a notebook has chosen one.
    """
    import matplotlib

    if "matplotlib.pyplot" not in sys.modules and "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn as sns  # half a second, for it imports scipy.stats: only where a figure is drawn
    from matplotlib.rcsetup import cycler

    size = _medium.get().type
    plt.rcParams.update(
        {
            **sns.axes_style("whitegrid"),
            **sns.plotting_context("paper"),
            "image.cmap": "viridis",
            "axes.prop_cycle": cycler(color=list(COLOURS)),
            "font.family": "DejaVu Sans",
            "font.size": 8 * size,
            "axes.titlesize": 8 * size,
            "axes.titley": 1.0,  # a place of its own costs a layout of all tick labels at every draw
            "axes.labelsize": 8 * size,
            "legend.fontsize": 7 * size,
            "xtick.labelsize": 7 * size,
            "ytick.labelsize": 7 * size,
            "axes.grid": True,
            "grid.linewidth": 0.4,
            "axes.linewidth": 0.6,
            "lines.linewidth": 1.2 * size,
            "lines.markersize": 3.5 * size,
            "text.usetex": False,
            "svg.hashsalt": "optbench",
            "svg.fonttype": "path",
            "figure.max_open_warning": 0,
        }
    )
    return plt


def subplots(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Any, Any]:
    """(figure, (rows, columns) its axes). width, height: inches in a paper; another medium has its own share of them.

    more: what `matplotlib.pyplot.subplots` takes besides.
    """
    of = _medium.get()
    size = width * of.wide, height * of.high
    figure, axes = pyplot().subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **more)
    return figure, axes


def titled(axes: Any, text: str) -> None:
    """A title above axes, on as many lines as their width asks for."""
    across = axes.get_subplotspec().get_gridspec().ncols
    width = 0.72 * axes.get_figure().get_figwidth() * 72 / across / (8 / 7 * letters(LETTER))
    axes.set_title("\n".join(textwrap.wrap(text, max(int(width), 8), break_long_words=False)))


def log(axes: Any, both: bool = True) -> None:
    """Logarithmic axes with few ticks and no minor ones (they are most of the time that matplotlib takes)."""
    axes.set_xscale("log")
    _ticks(axes.xaxis, *axes.get_xlim())
    if both:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if low <= 0 < axes.dataLim.minposy < high:  # a limit that was set while the axis was linear stays as it was
            low, _ = axes.set_ylim(bottom=axes.dataLim.minposy / 1.5)
        _ticks(axes.yaxis, low, high)


def _ticks(axis: Any, low: float, high: float) -> None:
    """Powers of ten; steps between them where the axis spans fewer than two; even steps where it spans hardly any."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if high < 4 * low or low <= 0:
        axis.set_major_locator(MaxNLocator(4))
    else:
        powers = math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1
        steps = (1.0,) if powers > 1 else (1.0, 3.0) if high >= 10 * low else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=steps, numticks=5))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_power))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power(value: float, _place: int | None = None) -> str:
    """A tick's label: plain text, since setting formulas takes longer than all else that is drawn."""
    if value <= 0 or 0.01 <= value < 1e4:
        return f"{value:g}"
    digits, exponent = f"{value:.0e}".split("e")
    raised = "10" + str(int(exponent)).translate(_RAISED)
    return raised if digits == "1" else f"{digits}·{raised}"


def short(text: str, width: int = 28) -> str:
    """A name cut at its end, for axes and legends, its dollar signs kept from starting a formula.

    That it was tuned is the first thing to go: the tables say so. Then go the modules that classes come from.
    """
    if len(text) > width:
        text = re.sub(r" \(tuned, \d+\)", "", text)
    if len(text) > width:
        text = re.sub(r"[\w.]+:(?=\w)", "", text)
    text = text if len(text) <= width else text[: width - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")


def short_all(texts: Sequence[str], width: int = 28) -> list[str]:
    """Names for axes and legends; those that would read alike are written in full, on two lines where they are long."""
    cut = [short(text, width) for text in texts]
    return [_wrapped(text, width) if cut.count(name) > 1 else name for text, name in zip(texts, cut, strict=True)]


def _wrapped(text: str, width: int) -> str:
    """The whole text, broken once at a sign between words, nearest to its middle."""
    breaks = [found.end() for found in re.finditer(r"[\s:+,=(\[-]", text[:-1])]
    if len(text) > width and breaks:
        at = min(breaks, key=lambda place: abs(place - len(text) / 2))
        text = f"{text[:at].rstrip()}\n{text[at:]}"
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).replace("$", r"\$")


def name_ends(axes: Any, ends: Sequence[tuple[str, float, str]]) -> None:
    """Names at the right ends of lines in place of a legend, pushed apart: (name, height of the end, colour) each."""
    size = letters(7)
    low, high = axes.get_ylim()
    inches = axes.get_figure().get_figheight() * 0.7  # about what the axes have
    gap = 1.15 * size / 72 / inches
    placed = sorted([((y - low) / (high - low), name, colour) for name, y, colour in ends])
    at: list[float] = []
    for height, _name, _colour in placed:
        at.append(max(height, at[-1] + gap) if at else height)
    over = max(at[-1] - 1.0, 0.0) if at else 0.0
    names = short_all([name for _, name, _ in placed], 22)
    for place, name, (height, _, colour) in zip(at, names, placed, strict=True):
        ends_at = [[1.0, 1.06], [height, place - over]]
        axes.plot(*ends_at, transform=axes.transAxes, color=colour, linewidth=0.6, clip_on=False, marker="")
        axes.text(1.08, place - over, name, transform=axes.transAxes, fontsize=size, va="center")


LETTER, HANDLE = 3.9, 36.0  # points that a letter and a line with its gaps take in a legend


def legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int = 4) -> None:
    """One legend under all axes of a figure, outside of them, in as many columns as its width takes."""
    if not handles:
        return
    names = short_all(labels)
    wide = max(len(line) for name in names for line in name.split("\n")) * letters(LETTER) + letters(HANDLE)  # points
    columns = max(1, min(columns, len(handles), int(figure.get_figwidth() * 72 / wide)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.8)
