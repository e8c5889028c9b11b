"""The report of one or more result folders: computed from records alone, without torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.records.reference import beside
from optbench.report.build import Report, View, build_report

__all__ = ["Report", "View", "write"]


def write(folders: Sequence[str | Path], out: str | Path | None = None, view: View = View()) -> Report:  # noqa: B008
    """Write report.html, report.md, report.json, figures/ and tables/ into `out`, or into the first of `folders`.

    Several folders are compared: the first is what the others are measured against, and junit.xml has a test case for
    each cell they share. Works on a running or interrupted folder and says what is missing. Raises RequestError for a
    folder without results, for a later folder that shares too few cells with the first (`View`), and for one
    that shares nothing with the reference it is put beside.
    """
    if not folders:
        raise RequestError("report needs a result folder: `python -m optbench report DIR`")
    with _uncollected():
        where = Path(out) if out is not None else Path(folders[0])
        found = [read(folder) for folder in folders]
        if view.against is not None:
            if len(found) > 1:
                raise RequestError("one folder is put beside a reference; `python -m optbench merge` joins several")
            found = [beside(found[0], view.against)]
        return build_report(found, where, view)


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
