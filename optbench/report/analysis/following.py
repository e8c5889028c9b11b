"""What a report is made by: the options that were given, else the analysis that the suite states, else the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from optbench.records.analysis import Analysis, stated
from optbench.records.reader import Results
from optbench.records.reference import ENTRANTS


class Followed(NamedTuple):
    """axis, scored, mixed: as the report uses them. stated: the analysis, trials that had ended by then, departures."""

    axis: str
    scored: str
    mixed: bool
    stated: tuple[Analysis, int, Sequence[str]] | None


def follow(folders: Sequence[Results], axis: str | None, scored: str | None, mixed: bool) -> Followed:
    """What a report of these folders goes by. axis, scored: None where nothing was asked for.

    The analysis of several folders is followed where all of them state the same.
    """
    found = [stated(results.environment) for results in folders]
    usual = Analysis()
    if found[0] is None or any(one is None or one[0] != found[0][0] for one in found):
        return Followed(axis or usual.axis, scored or usual.scored, mixed, None)
    analysis = found[0][0]
    departures = []
    if axis is not None and axis != analysis.axis:
        departures.append(f"--axis {axis} in place of {analysis.axis}")
    if scored is not None and scored != analysis.scored:
        departures.append(f"--scored {scored} in place of {analysis.scored}")
    if mixed and not analysis.mixed:
        departures.append("--mixed ranks tuned and untuned together")
    if any(results.environment.get(ENTRANTS) is not None for results in folders):
        departures.append("--against adds optimizers of a reference")
    if len(folders) > 1:
        departures.append("several folders are compared")
    before = max(one[1] for one in found if one)
    asked = axis or analysis.axis, scored or analysis.scored, mixed or analysis.mixed
    return Followed(*asked, (analysis, before, departures))
