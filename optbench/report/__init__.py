"""The report of one or more result folders: computed from records alone, without torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from optbench.core.trial import RequestError
from optbench.records.reader import Results, read
from optbench.records.reference import beside
from optbench.report.build import Report, View, build_report, draw_figures

__all__ = ["Report", "View", "draw", "write"]


def write(folders: Sequence[str | Path], out: str | Path | None = None, view: View = View()) -> Report:  # noqa: B008
    """Write report.html, report.md, report.json and tables/ into `out`, or into the first of `folders`.

    Several folders are compared: the first is what the others are measured against, and junit.xml has a test case for
    each cell they share. Works on a running or interrupted folder and says what is missing. Raises RequestError for a
    folder without results, for a later folder that shares too few cells with the first (`View`), and for one
    that shares nothing with the reference it is put beside.
    """
    with _uncollected():
        found = _read(folders, view)
        return build_report(found, Path(out or folders[0]), view)


def draw(
    folders: Sequence[str | Path],
    names: Sequence[str],
    out: str | Path | None = None,
    view: View = View(),  # noqa: B008
    style: str = "paper",
) -> list[Path]:
    """Draw figures for print as SVG, PDF and PNG into the folder figures/ of `out`, or of the first of `folders`.

    names: those of docs/report.md, "all" for every one; a name stands for all of its pages. style: "paper", 7 inches
    wide with 7 to 8 point type, or "talk", larger type and fewer lines. Returns the files. Raises RequestError for a
    name that there is not, with the nearest.
    """
    with _uncollected():
        return draw_figures(_read(folders, view), Path(out or folders[0]), view, names, style)


def _read(folders: Sequence[str | Path], view: View) -> list[Results]:
    if not folders:
        raise RequestError("report needs a result folder: `python -m optbench report DIR`")
    found = [read(folder) for folder in folders]
    if view.against is None:
        return found
    if len(found) > 1:
        raise RequestError("one folder is put beside a reference; `python -m optbench merge` joins several")
    return [beside(found[0], view.against)]


@contextmanager
def _uncollected() -> Iterator[None]:
    """The collector of cycles off: over a million curve points it takes a tenth of the time and frees little."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
