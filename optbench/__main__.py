"""The command line: run, report, list, check, new, merge. Heavy modules are imported by the commands that use them."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from optbench.core.trial import FAILED, RequestError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed trials under --strict or a failed check, 2 a bad request, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(given)
        code: int = options.do(options, given)
    except RequestError as error:
        print(f"optbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\noptbench: interrupted; every finished trial is kept, the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    return code


def _run(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.execution.request import run_request
    from optbench.execution.runner import command_line

    records, folder = run_request(
        options.suite,
        options.out,
        problems=options.problem,
        optimizers=options.optimizer,
        seeds=options.seeds,
        passes=options.passes,
        workers=options.workers,
        lanes=options.lanes,
        tune=options.tune,
        device=options.device,
        plugins=options.plugin,
        command=command_line(given),
    )
    _write_report([folder])
    return int(options.strict and any(record.status in FAILED for record in records))


def _report(options: argparse.Namespace, given: list[str]) -> int:
    return _write_report([Path(name) for name in options.folder], options.out and Path(options.out))


def _write_report(folders: list[Path], out: Path | None = None) -> int:
    from optbench import report

    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder} is no results folder; `python -m optbench run --out {folder}` makes one")
    if out and out.exists() and not out.is_dir():
        raise RequestError(f"--out {out} is a file, not a folder to write the report into")
    written = report.write(folders, out)
    for sentence in written.verdict:
        print(sentence)
    print(f"report: {written.html}")
    return int(bool(written.regressions))


def _list(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.registry.listing import listing

    found = listing()
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for kind, rows in found.items():
        print(f"{kind}:")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            note = f"  (not installed: pip install {row['install']})" if row.get("install") else ""
            print(f"  {row['name']:<{width}}  {row['kind']:<19}  {row['summary']}{note}")
    return 0


def _check(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.testing.conformance import check

    findings = check(options.target, options.plugin)
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}" + (f": {finding.detail}" if finding.detail else ""))
    failed = sum(not finding.ok for finding in findings)
    print(f"{options.target}: {len(findings) - failed} passed, {failed} failed")
    return int(failed > 0)


def _new(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.testing.scaffolds import write

    path = write(options.kind, options.name)
    print(f"wrote {path}; next:")
    print(f"  python -m optbench check {path}")
    print(f"  python -m optbench run --plugin {path} --{options.kind} {options.name} --out results/{options.name}")
    return 0


def _merge(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.records.store import merge

    count = merge([Path(name) for name in options.folder], Path(options.out), options.mixed)
    print(f"{count} records in {options.out}")
    return 0


class _Parser(argparse.ArgumentParser):
    """Refuses what it cannot read in one line, with the nearest name."""

    known: ClassVar[dict[str, None]] = {}  # commands and options of all parsers

    def add_argument(self, *names: Any, **how: Any) -> argparse.Action:
        self.known.update(dict.fromkeys(name for name in names if name.startswith("--")))
        return super().add_argument(*names, **how)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"unrecognized arguments: (\S+)|command: invalid choice: '(.*?)'", message)
        close = difflib.get_close_matches(wrong[1] or wrong[2], self.known, 1, 0.5) if wrong else []
        hint = f"did you mean {close[0]!r}?" if close else f"`{self.prog} --help` shows what it takes"
        raise RequestError(f"{message}; {hint}")


def _whole(text: str) -> int:
    """A whole number, as argparse wants its refusal."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _lanes(text: str) -> int | None:
    """A number of lanes, or None for "auto"."""
    return None if text == "auto" else _whole(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m optbench", description="Compare optimizers on torch networks.")
    commands = parser.add_subparsers(required=True, dest="command", metavar="command")

    run = commands.add_parser("run", help="run a suite and write its report")
    run.add_argument("suite", nargs="?", default="quick", help="a built-in suite or a TOML file (default: quick)")
    run.add_argument("--out", metavar="DIR", help="results folder (default: results/<suite>)")
    run.add_argument("--problem", action="append", default=[], metavar="P", help="this problem instead; repeatable")
    run.add_argument("--optimizer", action="append", default=[], metavar="O", help="like 'adam[lr=0.01,0.1]'")
    run.add_argument("--seeds", type=_whole, metavar="N", help="seeds 0 to N-1")
    run.add_argument("--passes", type=float, metavar="N", help="budget in passes over the training set")
    run.add_argument("--workers", type=_whole, default=0, metavar="N", help="processes (default: one a core)")
    run.add_argument("--tune", type=_whole, metavar="N", help="settings tried of every optimizer with a search space")
    run.add_argument(
        "--lanes", type=_lanes, metavar="N", help="trials trained as one program (default: auto, as many as pay)"
    )
    run.add_argument("--device", choices=("cpu", "cuda", "auto"), default="cpu")
    run.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a file with your own; repeatable")
    run.add_argument("--strict", action="store_true", help="exit 1 when a trial failed")
    run.set_defaults(do=_run)

    report = commands.add_parser("report", help="write the report of result folders again")
    report.add_argument("folder", nargs="+", metavar="DIR")
    report.add_argument("--out", metavar="DIR", help="where to (default: the first folder)")
    report.set_defaults(do=_report)

    listing = commands.add_parser("list", help="what there is: problems, optimizers, suites")
    listing.add_argument("--json", action="store_true")
    listing.set_defaults(do=_list)

    check = commands.add_parser("check", help="conformance of an optimizer or problem")
    check.add_argument("target", help="a table name, module:Class, or a plugin file")
    check.add_argument("--plugin", action="append", default=[], metavar="FILE")
    check.set_defaults(do=_check)

    new = commands.add_parser("new", help="write a plugin file that already runs")
    new.add_argument("kind", choices=("optimizer", "problem"))
    new.add_argument("name")
    new.set_defaults(do=_new)

    merge = commands.add_parser("merge", help="join results of several machines")
    merge.add_argument("folder", nargs="+", metavar="DIR")
    merge.add_argument("--out", required=True, metavar="DIR")
    merge.add_argument("--mixed", action="store_true", help="join folders of different versions all the same")
    merge.set_defaults(do=_merge)
    _Parser.known.update(dict.fromkeys(commands.choices))
    return parser


if __name__ == "__main__":
    sys.exit(main())
