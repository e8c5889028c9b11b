"""A picture at one place of its slider, drawn by matplotlib: for thumbnails, notebooks and slides."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.report.figures.style import log, pyplot
from optbench.tour.picture import Picture, at

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS, ROUND = 96, 0.75  # pixels an inch; points a pixel
THUMBNAIL = (4.8, 2.7)  # inches
WIDE = 10.0  # inches of a figure


def figure(picture: Picture, k: int | None = None) -> Figure:
    """The panels of a picture side by side. k: the place of the slider; left out, the end of what moves, or the start.

    The caller closes it.
    """
    shares = [panel.share for panel in picture.panels]
    tall = max(share / sum(shares) * panel.shape for share, panel in zip(shares, picture.panels, strict=True))
    return _row(picture, range(len(shares)), _first(picture) if k is None else k, (WIDE, WIDE * tall + 0.7))


def thumbnail(picture: Picture) -> bytes:
    """The panels of the picture's cover as a small WebP, without words around them."""
    from PIL import Image

    plt = pyplot()
    drawn = _row(picture, picture.cover, _first(picture), THUMBNAIL, words=False)
    try:
        stream = io.BytesIO()
        drawn.savefig(stream, format="png", dpi=PIXELS)
    finally:
        plt.close(drawn)
    small = io.BytesIO()
    Image.open(stream).convert("RGB").save(small, "WEBP", quality=82, method=6)
    return small.getvalue()


def _row(picture: Picture, which: Sequence[int], k: int, size: tuple[float, float], words: bool = True) -> Figure:
    plt, data = pyplot(), picture.data()["panels"]
    chosen = [picture.panels[i] for i in which]
    widths = [panel.share for panel in chosen]
    drawn, row = plt.subplots(
        1, len(chosen), figsize=size, dpi=PIXELS, width_ratios=widths, layout="constrained", squeeze=False
    )
    for axes, i, panel in zip(row[0], which, chosen, strict=True):
        _panel(axes, data[i], k, panel.shape)
        if words:
            axes.set_title(panel.title, fontsize=9, loc="left", wrap=True)
            handles, labels = axes.get_legend_handles_labels()
            if handles:
                axes.legend(handles, labels, loc="best", fontsize=7, framealpha=0.8)
        else:
            axes.set(xlabel="", ylabel="")
            axes.tick_params(labelbottom=False, labelleft=False)
    return drawn


def _first(picture: Picture) -> int:
    return len(picture.control.values) - 1 if picture.control.moves else picture.control.start


def _panel(axes: Any, panel: dict[str, Any], k: int, shape: float) -> None:
    axes.set(xlim=at(panel["x"], k), ylim=at(panel["y"], k), xlabel=panel["x_label"], ylabel=panel["y_label"])
    axes.set_box_aspect(shape)
    if panel["log"] == "xy":
        log(axes)
    elif "x" in panel["log"]:
        log(axes, both=False)
    elif "y" in panel["log"]:
        axes.set_yscale("log")
    if panel["ticks"]:
        axes.set_xticks([place for place, _ in panel["ticks"]], [words for _, words in panel["ticks"]])
        axes.grid(visible=False, axis="x")
    if not panel["numbered"]:
        axes.set_yticks([])
    if panel["bare"]:
        axes.axis("off")
    axes.set_autoscale_on(False)
    for z, layer in enumerate(panel["layers"]):
        _DRAW[layer["kind"]](axes, layer, k, 2 + z)


def _numbers(values: Any) -> Any:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _line(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    upto = at(layer["upto"], k)
    dash = (0, [max(1, d) / layer["width"] for d in layer["dash"]]) if layer["dash"] else "solid"
    axes.plot(
        _numbers(at(layer["x"], k))[:upto],
        _numbers(at(layer["y"], k))[:upto],
        color=layer["colour"],
        zorder=z,
        linewidth=layer["width"] * ROUND,
        linestyle=dash,
        alpha=layer["alpha"],
        label=layer["label"] or None,
    )


def _dots(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    size = np.array(at(layer["size"], k), dtype=float)
    axes.scatter(
        _numbers(at(layer["x"], k)),
        _numbers(at(layer["y"], k)),
        s=(2 * size * ROUND) ** 2,
        zorder=z,
        c=at(layer["colour"], k),
        edgecolors=layer["edge"] or "none",
        alpha=layer["alpha"],
        label=layer["label"] or None,
    )


def _bars(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    axes.bar(
        _numbers(at(layer["x"], k)),
        _numbers(at(layer["y"], k)),
        layer["width"],
        color=at(layer["colour"], k),
        zorder=z,
        label=layer["label"] or None,
    )


def _boxes(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    fill = at(layer["colour"], k)
    for i, (left, right, bottom, top) in enumerate(at(layer["items"], k)):
        one = (fill[i] if isinstance(fill, list) else fill) or "none"
        axes.add_patch(
            pyplot().Rectangle(
                (left, bottom),
                right - left,
                top - bottom,
                facecolor=one,
                edgecolor=layer["edge"] or "none",
                alpha=layer["alpha"],
                zorder=z,
                label=layer["label"] if i == 0 and layer["label"] else None,
            )
        )


def _arrows(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    colour = at(layer["colour"], k)
    for i, (x0, y0, x1, y1) in enumerate(at(layer["items"], k)):
        style = {
            "arrowstyle": "-|>",
            "color": colour[i] if isinstance(colour, list) else colour,
            "shrinkA": 0,
            "shrinkB": 0,
        }
        axes.annotate("", (x1, y1), (x0, y0), arrowprops={**style, "lw": layer["width"] * ROUND}, zorder=z)


def _text(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    colour, weight = at(layer["colour"], k), "bold" if layer["bold"] else "normal"
    for i, (x, y, words) in enumerate(at(layer["items"], k)):
        axes.text(
            x,
            y,
            words.replace("$", r"\$"),
            color=colour[i] if isinstance(colour, list) else colour,
            ha=layer["align"],
            va="center",
            fontsize=layer["size"] * 0.5,
            weight=weight,
            zorder=z,
            clip_on=True,
        )


def _image(axes: Any, layer: dict[str, Any], k: int, z: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    pixels = np.frombuffer(base64.b64decode(at(layer["pixels"], k)), dtype=np.uint8)
    levels = pixels.reshape(layer["rows"], layer["columns"]) / 255
    colours = LinearSegmentedColormap.from_list("own", layer["palette"])(levels)
    colours[..., 3] = layer["alpha"] * (levels if layer["fade"] else 1.0)
    axes.imshow(
        colours,
        extent=layer["extent"],
        aspect="auto",
        zorder=z,
        interpolation="bilinear" if layer["smooth"] else "nearest",
    )
    axes.grid(visible=False)


_DRAW = {
    "line": _line,
    "dots": _dots,
    "bars": _bars,
    "boxes": _boxes,
    "arrows": _arrows,
    "text": _text,
    "image": _image,
}
