"""The report of one or more result folders: computed from records alone, without torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.report.build import Report, View, build_report

__all__ = ["Report", "View", "write"]


def write(folders: Sequence[str | Path], out: str | Path | None = None, view: View = View()) -> Report:  # noqa: B008
    """Write report.html, report.md, report.json, figures/ and tables/ into `out`, or into the first of `folders`.

    Several folders are compared: the first is what the others are measured against, and junit.xml has a test case for
    each cell they share. Works on a running or interrupted folder and says what is missing. Raises RequestError for a
    folder without results, and for a later folder that shares too few cells with the first (`View`).
    """
    if not folders:
        raise RequestError("report needs a result folder: `python -m optbench report DIR`")
    with _uncollected():
        where = Path(out) if out is not None else Path(folders[0])
        return build_report([read(folder) for folder in folders], where, view)


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
