"""`list`, `check` and `new`: what there is, and what one adds."""

from __future__ import annotations

import argparse
import json
from typing import Any

from optbench.arguments import command, completes, expect_to_train, names

TRACKS = ("function", "supervised", "unsupervised", "reinforcement")  # core.problem has them, and imports torch
LIST_EXAMPLES = """examples:
  optbench list problems --track supervised
  optbench list optimizers --family swarm
  optbench list problems mri
"""


def add(commands: Any) -> None:
    listing = command(commands, "list", "list problems, optimizers and suites", _list, LIST_EXAMPLES)
    listing.add_argument("words", nargs="*", metavar="WHAT", help="problems, optimizers or suites, then text to find")
    listing.add_argument("--track", choices=TRACKS, help="problems of this track alone")
    listing.add_argument("--family", metavar="F", help="optimizers of this family alone")
    listing.add_argument("--json", action="store_true")

    check = command(commands, "check", "check an optimizer or problem for conformance", _check)
    target = check.add_argument("target", help="a table name, module:Class, or a plugin file")
    check.add_argument("--plugin", action="append", default=[], metavar="FILE")
    completes(target, lambda: [*names("optimizers"), *names("problems")])

    new = command(commands, "new", "write a plugin file that already runs", _new)
    new.add_argument("kind", choices=("optimizer", "problem"))
    new.add_argument("name")


def _list(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.registry.listing import filtered, listing

    found = filtered(listing(), options.words, options.track, options.family)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    for kind, rows in found.items():
        print(f"{kind}:")
        width = max((len(row["name"]) for row in rows), default=0)
        for row in rows:
            note = f"  (not installed: pip install {row['install']})" if row.get("install") else ""
            if row.get("data"):
                note = f"  (data {row['data']})" if row["data"] == "ready" else f"  (no data: {row['data']})"
            print(f"  {row['name']:<{width}}  {row['kind']:<19}  {row['summary']}{note}")
        if not rows:
            print("  none")
    return 0


def _check(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
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
