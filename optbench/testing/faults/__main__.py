"""The command: python -m optbench.testing.faults --faults N --seed S --kinds a,b --out FILE, or --hostile."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from optbench.testing.faults.outcome import Outcome
from optbench.testing.faults.table import failures, table

UNIX_ONLY = "optbench.testing.faults: faults are signals, limits and mounts, which only a Unix system has"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when every fault was survived, 1 when one was not, 2 for a request that makes no sense."""
    given = _parser().parse_args(arguments)
    if os.name != "posix":
        print(UNIX_ONLY, file=sys.stderr)
        return 2
    # A shell that puts this command in the background has it ignore SIGINT, and every run with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _hostile(given) if given.hostile else _faults(given)


def _faults(given: argparse.Namespace) -> int:
    from optbench.testing.faults.campaign import KINDS, Campaign
    from optbench.testing.faults.launch import Launcher
    from optbench.testing.faults.scene import can_mount

    asked = given.kinds.split(",") if given.kinds else list(KINDS)
    if unknown := [name for name in asked if name not in KINDS]:
        return _refuse(f"unknown kind {unknown[0]!r}; known: {', '.join(KINDS)}")
    mounts, linux = can_mount(), sys.platform == "linux"
    possible = [name for name in asked if (mounts or not KINDS[name].mounts) and (linux or not KINDS[name].linux)]
    if impossible := [name for name in asked if name not in possible]:
        print(f"left out, for this system or user cannot do them: {', '.join(impossible)}", file=sys.stderr)
    if not possible:
        return _refuse("none of the kinds is possible here")
    plan = [(index, asked[index % len(asked)]) for index in range(given.faults)]
    plan = [(index, kind) for index, kind in plan if kind in possible]
    if given.only is not None:
        plan = [(given.only, asked[given.only % len(asked)])]

    def again(outcome: Outcome) -> str:
        kinds = f" --kinds {given.kinds}" if given.kinds else ""
        return f"python -m optbench.testing.faults --seed {given.seed}{kinds} --only {outcome.index}"

    title = f"faults of seed {given.seed}, {given.jobs} at a time"
    with tempfile.TemporaryDirectory(prefix="optbench_faults_") as work, Launcher() as launcher:
        outcomes = Campaign(Path(work), launcher, given.seed).run(plan, given.jobs)
        return _carry_out(outcomes, len(plan), title, "recovery", again, given.out)


def _hostile(given: argparse.Namespace) -> int:
    from optbench.testing.faults.hostile import PLUGINS
    from optbench.testing.faults.hostile_run import HostileCampaign
    from optbench.testing.faults.launch import Launcher

    asked = given.kinds.split(",") if given.kinds else list(PLUGINS)
    if unknown := [name for name in asked if name not in PLUGINS]:
        return _refuse(f"unknown plugin {unknown[0]!r}; known: {', '.join(PLUGINS)}")

    def again(outcome: Outcome) -> str:
        return f"python -m optbench.testing.faults --hostile --kinds {outcome.kind}"

    title = "hostile plugins, each beside adam, pso and sgd"
    with tempfile.TemporaryDirectory(prefix="optbench_faults_") as work, Launcher() as launcher:
        outcomes = HostileCampaign(Path(work), launcher).run(asked, given.jobs)
        return _carry_out(outcomes, len(asked), title, "the run", again, given.out)


def _carry_out(
    outcomes: Iterable[Outcome],
    total: int,
    title: str,
    seconds: str,
    again: Callable[[Outcome], str],
    out: Path | None,
) -> int:
    """Tell each outcome as it comes and the table at the end; the exit code.

    The table is written at every outcome, so that a campaign that is stopped leaves what it has found.
    """
    began, found, text = time.monotonic(), list[Outcome](), ""
    for outcome in outcomes:
        found.append(outcome)
        state = "not injected" if not outcome.injected else "; ".join(outcome.failures) or "survived"
        print(f"{len(found)}/{total} {outcome.kind} ({outcome.detail}): {state}", file=sys.stderr, flush=True)
        found.sort(key=lambda one: one.index)
        head = f"{len(found)} of {total} {title}, in {(time.monotonic() - began) / 60:.1f} minutes."
        text = f"{head}\n\n{table(found, seconds)}\n{failures(found, again)}".rstrip() + "\n"
        if out:
            out.write_text(text, encoding="utf-8")
    print(text, end="")
    return int(any(outcome.failures for outcome in found if outcome.injected))


def _refuse(reason: str) -> int:
    print(f"optbench.testing.faults: {reason}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m optbench.testing.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=30, metavar="N", help="how many (default: 30)")
    parser.add_argument("--seed", type=int, default=0, metavar="S")
    parser.add_argument("--kinds", metavar="A,B", help="these kinds alone, in turn (default: all)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="one fault of the campaign again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="faults at a time")
    parser.add_argument("--hostile", action="store_true", help="hostile plugins instead of faults")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
