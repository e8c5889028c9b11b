"""`archive`: results kept where others compare with them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from optbench.arguments import command, expect_to_train, whole_number

ARCHIVE_EXAMPLES = """examples:
  optbench archive add results/mine --to archive --name my_method --author 'A. Name'
  optbench archive list archive
  optbench archive show archive/my_method
  optbench archive verify archive/my_method --sample 20 --seed 1
  optbench archive site archive --out site
  optbench report results/other --against archive/my_method
"""


def add(commands: Any) -> None:
    archive = command(commands, "archive", "keep results where others compare with them", None, ARCHIVE_EXAMPLES)
    actions = archive.add_subparsers(required=True, dest="action", metavar="action")
    add = command(actions, "add", "pack a results folder as a submission", _pack)
    add.add_argument("folder", metavar="DIR", help="a complete results folder")
    add.add_argument("--to", required=True, metavar="ARCHIVE", help="a folder of submissions; made if need be")
    add.add_argument("--name", required=True, metavar="N", help="letters, digits, '.', '_' and '-'")
    add.add_argument("--author", default="", metavar="TEXT")
    add.add_argument("--note", default="", metavar="TEXT", help="what a reader should know")
    add.add_argument("--mixed", action="store_true", help="take results of several versions, marked")

    listing = command(actions, "list", "list the submissions of an archive, each checked", _list)
    listing.add_argument("archive", metavar="ARCHIVE")

    show = command(actions, "show", "show what a submission is", _show)
    show.add_argument("name", metavar="ARCHIVE/NAME", help="a submission, standard or modern")
    show.add_argument("--json", action="store_true", help="its manifest")

    verify = command(actions, "verify", "run a sample of a submission's trials again and compare", _verify)
    verify.add_argument("name", metavar="ARCHIVE/NAME", help="a submission, standard or modern")
    verify.add_argument("--sample", type=whole_number, default=20, metavar="K", help="trials (default: 20)")
    verify.add_argument("--seed", type=whole_number, default=0, metavar="S", help="of the sample (default: 0)")
    verify.add_argument("--plugin", action="append", default=[], metavar="FILE", help="with its own names; repeatable")
    verify.add_argument("--trust", action="store_true", help="import whatever modules it names")
    verify.add_argument("--workers", type=whole_number, metavar="N", help="processes (default: one a core)")
    verify.add_argument("--mark", action="store_true", help="write the outcome into its manifest")

    site = command(actions, "site", "write an archive as web pages that any host serves", _site)
    site.add_argument("archive", metavar="ARCHIVE")
    site.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    site.add_argument(
        "--no-reports", action="store_true", help="leave out each submission's report, which takes seconds"
    )


def _pack(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.archive.submissions import add

    to = Path(options.to)
    found = add(Path(options.folder), to, options.name, options.author, options.note, options.mixed)
    for mark in found["marks"]:
        print(f"marked: {mark}")
    packed = sum(one["bytes"] for one in found["files"].values())
    print(f"{found['trials']} trials in {to / found['name']}, {packed / 1e6:.1f} MB, {found['kind']}")
    print(f"next: python -m optbench archive verify {to / found['name']} --mark")
    return 0


def _list(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.archive.submissions import entries, line

    found = entries(Path(options.archive))
    for entry in found:
        print(line(entry))
    if not found:
        print(f"{options.archive} has no submissions")
    return int(any(entry.manifest is None for entry in found))


def _show(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.archive.submissions import find, opened, shown

    found = opened(find(options.name))
    print(json.dumps(found, indent=1) if options.json else "\n".join(shown(found)))
    return 0


def _verify(options: argparse.Namespace, given: list[str]) -> int:
    expect_to_train()
    from optbench.archive.verifying import verify

    found = verify(
        options.name,
        options.sample,
        options.seed,
        options.plugin,
        options.trust,
        options.workers,
        lambda text: print(text, flush=True),
    )
    print("\n".join(found.sentences))
    if options.mark:
        found.mark()
    return int(not found.holds)


def _site(options: argparse.Namespace, given: list[str]) -> int:
    from optbench.archive.site import write

    print(f"site: {write(Path(options.archive), Path(options.out), not options.no_reports)}")
    return 0
