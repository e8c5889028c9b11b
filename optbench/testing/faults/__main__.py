"""The command: optbench.testing.faults --faults N --seed S --kinds a,b --out FILE, or --hostile, or --soak N."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from optbench.testing.faults.ledger import Ledger, joined
from optbench.testing.faults.outcome import Outcome
from optbench.testing.faults.table import page

UNIX_ONLY = "optbench.testing.faults: faults are signals, limits and mounts, which only a Unix system has"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when every fault was survived, 1 when one was not, 2 for a request that makes no sense."""
    given = _parser().parse_args(arguments)
    if os.name != "posix":
        print(UNIX_ONLY, file=sys.stderr)
        return 2
    # A shell that puts this command in the background has it ignore SIGINT, and every run with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if given.merge:
        return _merge(given)
    if given.out and given.soak is None:
        try:
            Ledger(given.out).read()
        except ValueError as error:
            return _refuse(str(error))
    if given.soak is not None:
        return _soak(given)
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
    kinds = f" --kinds {given.kinds}" if given.kinds else ""

    def named(index: int) -> tuple[str, str]:
        """The campaign of a fault, and the command that does it again."""
        command = f"python -m optbench.testing.faults --seed {given.seed}{kinds} --only {index}"
        return f"faults of seed {given.seed}", command

    def run(left: Sequence[tuple[int, str]]) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="optbench_faults_") as work, Launcher() as launcher:
            yield from Campaign(Path(work), launcher, given.seed).run(left, given.jobs)

    return _carry_out(plan, named, run, "recovery", given.out)


def _hostile(given: argparse.Namespace) -> int:
    from optbench.testing.faults.hostile import PLUGINS
    from optbench.testing.faults.hostile_run import HostileCampaign
    from optbench.testing.faults.launch import Launcher

    asked = given.kinds.split(",") if given.kinds else list(PLUGINS)
    if unknown := [name for name in asked if name not in PLUGINS]:
        return _refuse(f"unknown plugin {unknown[0]!r}; known: {', '.join(PLUGINS)}")
    every = list(PLUGINS)

    def named(index: int) -> tuple[str, str]:
        command = f"python -m optbench.testing.faults --hostile --kinds {every[index]}"
        return "hostile plugins, each beside adam, pso and sgd", command

    def run(left: Sequence[tuple[int, str]]) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="optbench_faults_") as work, Launcher() as launcher:
            yield from HostileCampaign(Path(work), launcher).run([name for _, name in left], given.jobs)

    return _carry_out([(every.index(name), name) for name in asked], named, run, "the run", given.out)


def _soak(given: argparse.Namespace) -> int:
    from optbench.testing.faults.launch import Launcher
    from optbench.testing.faults.soak import soak

    if not 0 <= given.faults < given.soak:
        return _refuse(f"--soak {given.soak} takes fewer --faults than trials, not {given.faults}")
    with tempfile.TemporaryDirectory(prefix="optbench_faults_") as work, Launcher() as launcher:
        found = soak(Path(work), launcher, given.soak, given.faults, given.seed)
    print(found.text(), end="")
    if given.out:
        given.out.write_text(found.text(), encoding="utf-8")
    return int(bool(found.failures))


def _carry_out(
    plan: Sequence[tuple[int, str]],
    named: Callable[[int], tuple[str, str]],
    run: Callable[[Sequence[tuple[int, str]]], Iterable[Outcome]],
    seconds: str,
    out: Path | None,
) -> int:
    """Do what has no outcome yet, tell each outcome as it comes and the table at the end; the exit code.

    plan: (index, kind) of all of it. named: the campaign and the command of an index. Outcome and table are written as
    each ends, so a campaign that is stopped leaves what it has found, and the same command goes on.
    """
    ledger = Ledger(out) if out else None
    found = ledger.read() if ledger else []
    done = {outcome.again for outcome in found}
    left = [(index, kind) for index, kind in plan if named(index)[1] not in done]
    if done:
        print(f"{len(plan) - len(left)} of {len(plan)} have their outcome in {ledger and ledger.path}", file=sys.stderr)
    total = len(found) + len(left)
    try:
        for outcome in run(left) if left else ():
            outcome.campaign, outcome.again = named(outcome.index)
            found.append(outcome)
            state = "not injected" if not outcome.injected else "; ".join(outcome.failures) or "survived"
            print(f"{len(found)}/{total} {outcome.kind} ({outcome.detail}): {state}", file=sys.stderr, flush=True)
            if out and ledger:
                ledger.append([outcome])
                out.write_text(page(found, seconds, total), encoding="utf-8")
    except KeyboardInterrupt:
        kept = f"; the same command goes on, {ledger.path} has what is done" if ledger else ""
        print(f"\noptbench.testing.faults: stopped{kept}", file=sys.stderr)
        return 130
    print(page(found, seconds), end="")
    return int(any(outcome.failures for outcome in found if outcome.injected))


def _merge(given: argparse.Namespace) -> int:
    """Join the outcomes of several tables into one."""
    try:
        found = joined(given.merge)
        known = Ledger(given.out).read() if given.out else []
    except ValueError as error:
        return _refuse(str(error))
    names = {outcome.again for outcome in known}
    new = [outcome for outcome in found if outcome.again not in names]
    found = known + new
    text = page(found)
    if given.out:
        Ledger(given.out).append(new)
        given.out.write_text(text, encoding="utf-8")
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
    parser.add_argument(
        "--soak", type=int, metavar="N", help="one run of N tiny trials, whose --faults are kills and stops of workers"
    )
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="join tables that --out has written")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the table there, and outcomes beside it as .jsonl; the same command goes on where it was stopped",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
