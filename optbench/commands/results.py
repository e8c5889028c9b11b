"""`report` and `merge`: what is made of results folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from optbench.arguments import command, whole_number
from optbench.core.trial import RequestError

REPORT_EXAMPLES = """examples:
  optbench report results/quick
  optbench report results/quick --figure scores --figure curves_passes --style talk
  optbench report results/before results/after --out results/against --require-common 20
"""


def add(commands: Any) -> None:
    report = command(commands, "report", "write the report of result folders again", _report, REPORT_EXAMPLES)
    report.add_argument("folder", nargs="+", metavar="DIR", help="the first is what the others are compared with")
    report.add_argument("--out", metavar="DIR", help="where to (default: the first folder)")
    report.add_argument(
        "--require-common",
        type=whole_number,
        default=1,
        metavar="N",
        help="exit 2 when fewer cells are in all (default: 1)",
    )
    report.add_argument(
        "--axis",
        choices=("total", "oracle"),
        help="what a pass counts: all work, or the problem's alone (default: as the suite states, else total)",
    )
    report.add_argument(
        "--against", metavar="REFERENCE", help="beside the optimizers of a reference: standard, modern, or a folder"
    )
    report.add_argument(
        "--scored",
        choices=("returned", "best"),
        help="what stands for a trial at the budget: the point it returned, or the best of its curve",
    )
    report.add_argument("--mixed", action="store_true", help="rank tuned and untuned optimizers together")
    report.add_argument(
        "--figure",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this figure for print, and nothing else; all for every one; repeatable",
    )
    report.add_argument(
        "--style", choices=("paper", "talk"), default="paper", help="of figures: type for a paper, or for slides"
    )

    merge = command(commands, "merge", "join results of several machines", _merge)
    merge.add_argument("folder", nargs="+", metavar="DIR")
    merge.add_argument("--out", required=True, metavar="DIR")
    merge.add_argument("--mixed", action="store_true", help="join folders of different versions all the same")


def _report(options: argparse.Namespace, given: list[str]) -> int:
    folders = [Path(name) for name in options.folder]
    view = {
        "require_common": options.require_common,
        "axis": options.axis,
        "mixed": options.mixed,
        "against": options.against,
        "scored": options.scored,
    }
    out = options.out and Path(options.out)
    if not options.figure:
        return write_report(folders, out, **view)
    from optbench import report

    _check_folders(folders, out)
    drawn = report.draw(folders, options.figure, out, report.View(**view), options.style)
    for path in drawn:
        print(path)
    if not drawn:
        print("optbench: nothing to draw here", file=sys.stderr)
    return 0


def _merge(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.records.merge import merge

    count = merge([Path(name) for name in options.folder], Path(options.out), options.mixed)
    print(f"{count} records in {options.out}")
    return 0


def write_report(folders: list[Path], out: Path | None, **view: Any) -> int:
    """Write the report and print its verdict; 1 where a comparison found a cell that got worse.

    view: what `optbench.report.View` takes.
    """
    from optbench import report

    _check_folders(folders, out)
    written = report.write(folders, out, report.View(**view))
    for sentence in written.in_short:
        print(sentence)
    print(f"report: {written.html}")
    return int(bool(written.regressions))


def _check_folders(folders: list[Path], out: Path | None) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder} is no results folder; `python -m optbench run --out {folder}` makes one")
    if out and out.exists() and not out.is_dir():
        raise RequestError(f"--out {out} is a file, not a folder to write the report into")
