"""The moving picture as a GIF or MP4 file, for slides and pages that take no scripts."""

from __future__ import annotations

import io
from pathlib import Path as File

import numpy as np

from optbench.core.trial import RequestError
from optbench.report.figures.style import pyplot
from optbench.watch.scene import Scene, Track, surface_picture

FRAMES, FPS, DPI = 60, 12, 90
VIDEO = ".mp4"


def check_film(file: File) -> None:
    """Raises RequestError for a kind of file that cannot be written here."""
    if file.suffix.lower() == ".gif":
        return
    if file.suffix.lower() != VIDEO:
        raise RequestError(f"{file}: a film is a .gif or a {VIDEO} file")
    from matplotlib.animation import FFMpegWriter

    if not FFMpegWriter.isAvailable():
        raise RequestError(f"{file} needs the program ffmpeg, which is not here; write a .gif, which needs nothing")


def film(scene: Scene, file: File) -> None:
    """Write the film: the plane on the left, the loss against cost on the right. `check_film` comes first."""
    from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter

    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.7), layout="constrained", width_ratios=(1, 1))
    try:
        left.imshow(plt.imread(io.BytesIO(surface_picture(scene.surface))), extent=scene.window)
        left.set(title=scene.title, xlabel=scene.axes[0], ylabel=scene.axes[1])
        left.grid(visible=False)
        if scene.minimum:
            left.plot(*scene.minimum, "*", color="white", markeredgecolor="black", markersize=11)
        last = max(track.costs[-1] for track in scene.tracks)
        costs = [track.costs[1] for track in scene.tracks if len(track.costs) > 1]
        finite = [loss for track in scene.tracks for loss in track.losses if 0 < loss < 1e30]
        right.set(xscale="log", yscale="log", xlim=(min(costs), last), ylim=(min(finite), max(finite)))
        right.set(xlabel="passes", ylabel="training loss")
        right.minorticks_off()
        for axis in (right.xaxis, right.yaxis):  # as plain text: powers as formulas take most of the time
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        drawn = []
        for track in scene.tracks:
            (path,) = left.plot([], [], color=track.colour, label=track.label)
            (cloud,) = left.plot([], [], "o", color=track.colour, markersize=2, alpha=0.6)
            (here,) = left.plot([], [], "o", color=track.colour, markeredgecolor="white", markersize=7)
            (curve,) = right.plot([], [], color=track.colour, label=track.label)
            drawn.append((track, path, cloud, here, curve))
        right.legend(loc="lower left")

        def show(k: int) -> None:
            cost = last * ((k + 1) / FRAMES) ** 2
            for track, path, cloud, here, curve in drawn:
                seen = _seen(track, cost)
                places = np.array(track.places[: seen + 1])
                path.set_data(*places.T)
                here.set_data(*places[-1:].T)
                cloud.set_data(*np.array(track.clouds[seen]).reshape(-1, 2).T)
                curve.set_data(track.costs[: seen + 1], track.losses[: seen + 1])

        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not at every frame
        writer = FFMpegWriter(FPS) if file.suffix.lower() == VIDEO else PillowWriter(FPS)
        FuncAnimation(figure, show, FRAMES, init_func=lambda: None).save(file, writer=writer, dpi=DPI)
    finally:
        plt.close(figure)


def _seen(track: Track, cost: float) -> int:
    """The last frame of a run at this cost."""
    return max(0, int(np.searchsorted(track.costs, cost, side="right")) - 1)
