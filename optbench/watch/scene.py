"""Everything that the moving picture shows, as plain numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from optbench.core.problem import Problem
from optbench.core.trial import RequestError
from optbench.report.figures.style import pyplot, styles
from optbench.watch.landscape import FINE_GRID, GRID, Array, Landscape, Plane, grid, own_plane, path_plane, window
from optbench.watch.learned import View, learned
from optbench.watch.recording import Path

LEVELS = 28  # of the contours
MAX_SEEN = 4  # decades below the best loss seen at which contours end
SPREAD = ("evolution",)  # families whose population is a normal distribution, drawn as an ellipse


@dataclass(frozen=True)
class Track:
    """One run in the plane. costs: (F,) passes. places: (F, 2). losses: (F,). clouds: a list of [x, y] a frame.
    ellipses: [x, y, half axis, half axis, angle] a frame of a method whose population is a normal distribution, two
    standard deviations wide.
    """

    label: str
    family: str
    colour: str
    costs: list[float]
    places: list[list[float]]
    losses: list[float]
    clouds: list[list[list[float]]]
    ellipses: list[list[float] | None]


@dataclass(frozen=True)
class Scene:
    """window: left, right, bottom, top of the plane. surface: (n, n) losses, rows from bottom to top. says: what the
    plane is, in a sentence. axes: what its two directions are called.
    """

    title: str
    says: str
    axes: tuple[str, str]
    window: tuple[float, float, float, float]
    surface: Array
    tracks: list[Track]
    view: View | None
    minimum: tuple[float, float] | None = None  # where the optimum is known

    def data(self) -> dict[str, Any]:
        """The scene for the page, without the surface, which is a picture there."""
        return {
            "window": self.window,
            "axes": self.axes,
            "tracks": [asdict(track) for track in self.tracks],
            "view": asdict(self.view) if self.view else None,
            "minimum": self.minimum,
        }


def scene(problem: Problem, name: str, paths: Sequence[Path]) -> Scene:
    """The picture of some runs. Raises RequestError where there is nothing to draw."""
    landscape = Landscape(problem)
    points = [torch.stack(path.points) for path in paths]
    dim = points[0].shape[1]
    if dim < 2:
        raise RequestError(f"{name} has one parameter, and a plane needs two: its curves are in the report of a run")
    losses = [landscape.losses(part) for part in points]
    calm = [i for i, path in enumerate(paths) if path.status != "diverged"] or range(len(paths))
    plane, says, axes, box = _plane(problem, landscape, [points[i] for i in calm], [losses[i] for i in calm], dim)
    places = [plane.coordinates(part) for part in points]
    edges = window([places[i] for i in calm], box)  # a run that flies away leaves the picture
    surface = grid(landscape, plane, edges, FINE_GRID if dim == 2 else GRID)
    if not float(np.ptp(surface[np.isfinite(surface)])) > 0:
        raise RequestError(f"the loss of {name} is the same all over the plane of the paths: there is nothing to see")
    drawn = styles([path.label for path in paths])
    tracks = [
        _track(path, place, loss, plane, drawn[path.label].colour)
        for path, place, loss in zip(paths, places, losses, strict=True)
    ]
    view = learned(landscape, [path.points for path in paths]) if box is None else None
    lowest = getattr(problem, "minimiser", None) if box is not None else None
    minimum = (float(lowest), float(lowest)) if lowest is not None else None
    return Scene(name, says, axes, edges, surface, tracks, view, minimum)


def _plane(
    problem: Problem, landscape: Landscape, points: Sequence[torch.Tensor], losses: Sequence[Array], dim: int
) -> tuple[Plane, str, tuple[str, str], tuple[float, float] | None]:
    if dim == 2:
        box = getattr(problem, "box", None)
        return own_plane(2, points[0].dtype), "The problem has two parameters: the plane is all of it.", ("x", "y"), box
    ends = [part[int(np.nanargmin(loss))] for part, loss in zip(points, losses, strict=True)]
    best = ends[int(np.argmin([np.nanmin(loss) for loss in losses]))]
    plane = path_plane(points, best, landscape.filter_norms(best))
    says = (
        f"The problem has {dim:,} parameters. The plane goes through the lowest point that a run reached, along the "
        f"two directions in which the runs move most; it holds {100 * plane.share:.0f} % of their movement. Lengths "
        "are in units of each filter's norm (Li et al. 2018). Paths are projected: one need not be as high as it seems."
    )
    return plane, says, ("first direction", "second direction"), None


def _track(path: Path, places: Array, losses: Array, plane: Plane, colour: str) -> Track:
    clouds = [[] if cloud is None else _pairs(plane.coordinates(cloud)) for cloud in path.clouds]
    normal = path.family in SPREAD
    ellipses = [_ellipse(np.array(cloud)) if normal and len(cloud) > 2 else None for cloud in clouds]
    shown = [float(f"{loss:.5g}") if np.isfinite(loss) else 1e300 for loss in losses]
    costs = [float(f"{cost:.5g}") for cost in path.costs]
    return Track(path.label, path.family, colour, costs, _pairs(places), shown, clouds, ellipses)


def _pairs(places: Array) -> list[list[float]]:
    return [[float(f"{x:.5g}") for x in place] for place in np.nan_to_num(places, posinf=1e30, neginf=-1e30)]


def _ellipse(cloud: Array) -> list[float] | None:
    """Two standard deviations of a population: [x, y, half axis, half axis, angle of the first in radians]."""
    middle, spread = cloud.mean(0), np.cov(cloud.T)
    if not np.isfinite(spread).all():
        return None
    sizes, axes = np.linalg.eigh(spread)
    first = 2 * np.sqrt(np.maximum(sizes, 0.0))[::-1]
    return [float(f"{x:.5g}") for x in (*middle, *first, np.arctan2(axes[1, 1], axes[0, 1]))]


def heights(surface: Array) -> tuple[Array, Array]:
    """(n, n) decades of the loss above the lowest one seen, and the levels of its contours."""
    finite = np.where(np.isfinite(surface), surface, np.nanmax(surface[np.isfinite(surface)]))
    above = finite - finite.min()
    floor = max(float(above.max()) * 10.0**-MAX_SEEN, float(np.percentile(above[above > 0], 1)))
    decades = np.log10(above + floor)
    return decades, np.linspace(decades.min(), decades.max(), LEVELS)


def surface_picture(surface: Array) -> bytes:
    """Contours of the loss as a PNG without axes, 600 pixels wide: dark is low."""
    plt = pyplot()
    figure = plt.figure(figsize=(5, 5), dpi=120)
    try:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        decades, levels = heights(surface)
        sides = np.linspace(0.0, 1.0, len(surface))
        axes.contourf(sides, sides, decades, levels, cmap="Greys_r", alpha=0.75)
        axes.contour(sides, sides, decades, levels[::3], colors="white", linewidths=0.5, alpha=0.7)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    finally:
        plt.close(figure)
    return stream.getvalue()
