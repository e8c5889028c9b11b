"""The results for other programs: report.json, and junit.xml where folders are compared."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from optbench.core.trial import RequestError
from optbench.report.analysis.comparison import Comparison, cells_of
from optbench.report.analysis.findings import Findings
from optbench.report.analysis.study import Study
from optbench.report.format import listed, plural, records_of
from optbench.report.sentences.comparison import regression, regressions

FORMAT = 1  # of report.json; raised when a key changes its meaning


def check_common(study: Study, minimum: int) -> None:
    """Refuse a comparison of folders that share fewer than `minimum` cells: it would pass without testing anything.

    Raises RequestError with what each side has and the nearest fix.
    """
    base, *others = study.names
    for name in others:
        sides = {side: cells_of(study, side).keys() for side in (base, name)}
        common = len(sides[base] & sides[name])
        if common < minimum:
            have = "; ".join(f"{side} has {_extent(cells)}" for side, cells in sides.items())
            raise RequestError(
                f"{base} and {name} share {plural(common, 'cell')} (problem, optimizer with its settings), "
                f"fewer than the {minimum} required: {have}; {_fix(sides[base], sides[name])}"
            )


def _extent(cells: Collection[tuple[str, str]]) -> str:
    problems, labels = ([*dict.fromkeys(cell[k] for cell in cells)] for k in (0, 1))
    if not cells:
        return "no cell"
    return f"{listed(labels, maximum=3)} on {listed(problems, maximum=3)}"


def _fix(base: Collection[tuple[str, str]], other: Collection[tuple[str, str]]) -> str:
    """What to change: a name that nearly matches, or the side that does not match at all."""
    for k, kind in enumerate(("problem", "optimizer")):
        before, after = ([*dict.fromkeys(cell[k] for cell in side)] for side in (base, other))
        if not set(before) & set(after):
            for name in after:
                if close := difflib.get_close_matches(name, before, 1, 0.5):
                    return f"run the second with --{kind} '{close[0]}' instead of '{name}'"
            return f"run the second with the {kind}s of the first"
    return "run both with the same problems and optimizers, or lower --require-common"


def report_json(found: Findings, verdict: list[str]) -> str:
    """report.json; what is infinite or unknown is null. The keys are documented in docs/report.md."""
    study, ranking = found.study, found.as_stated.ranking
    data = {
        "format": FORMAT,
        "folders": [*study.names],
        "verdict": verdict,
        "question": ranking.study.question.name,
        "winner": ranking.winner,
        "ranking": [
            {"optimizer": label, "score": ranking.iqm[label].estimate}
            | {"score_low": ranking.iqm[label].low, "score_high": ranking.iqm[label].high}
            for label in ranking.order
        ],
        "not_ranked": [{"optimizer": label, "why": why} for label, why in ranking.apart.items()],
        "costs": records_of(found.costs),
        "comparison": _comparison(found.comparison) if found.comparison else None,
        "regressions": regressions(found.comparison) if found.comparison else [],
    }
    return json.dumps(_plain(data), indent=1, allow_nan=False) + "\n"


def _comparison(compared: Comparison) -> dict[str, Any]:
    return {
        "base": compared.base,
        "folders": [*compared.others],
        "only": [{"in": a, "not_in": b, "cells": count} for (a, b), count in compared.only.items()],
        "differ": [*compared.differ],
        "cells": records_of(compared.table),
    }


def _plain(value: Any) -> Any:
    """The value as JSON knows it: numpy's numbers as Python's, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value


def junit(compared: Comparison) -> str:
    """junit.xml: a suite a folder, a test case a common cell; a regression fails, an untested cell is skipped."""
    root = ElementTree.Element("testsuites")
    for name in compared.others:
        rows = [row for row in records_of(compared.table) if row["folder"] == name]
        worse, untested = sum(row["change"] == "worse" for row in rows), sum(not row["tested"] for row in rows)
        counts = {"tests": str(len(rows)), "failures": str(worse), "errors": "0", "skipped": str(untested)}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(f"{name} against {compared.base}")} | counts)
        for row in rows:
            names = {"classname": _xml(row["problem"]), "name": _xml(row["optimizer"])}
            case = ElementTree.SubElement(suite, "testcase", names)
            if row["change"] == "worse":
                ElementTree.SubElement(case, "failure", {"message": _xml(regression(row, compared.base))})
            elif not row["tested"]:
                ElementTree.SubElement(case, "skipped", {"message": "one seed on a side, so nothing was tested"})
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Text without the control characters that XML forbids."""
    return "".join(c if c.isprintable() else "?" for c in text)
