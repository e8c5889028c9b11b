"""One long run of tiny trials: what its parent holds, and whether it goes on while workers are killed and stopped.

A worker that is lost must cost its run nothing but a moment. So the run is never started again: a stall is seen as the
longest wait between two records, and as a run that does not end.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from optbench.testing.faults.ending import failures_of
from optbench.testing.faults.launch import Launcher, Run
from optbench.testing.faults.verify import RECORDS, parse, whole_lines

SUITE = """description = "many tiny trials"
problems = ["sphere_2d"]
optimizers = ["sgd"]
seeds = {trials}
passes = 4
timeout = 60
"""
SHARES = (0.1, 0.5, 1.0)  # of the records, at which the parent is looked at
STALLED = 120.0  # seconds without a record after which the run counts as stalled
MIN_STOP, MAX_STOP = 0.2, 2.5  # seconds between SIGSTOP and SIGCONT
POLL = 0.01  # seconds


@dataclass(frozen=True)
class Held:
    """What the parent held when so many records were there."""

    records: int
    resident: int  # bytes
    own: int  # bytes of it that it shares with no other process
    descriptors: int


@dataclass
class Soak:
    """What came of a long run."""

    trials: int
    killed: int = 0
    stopped: int = 0
    longest: float = 0.0  # seconds between two records
    held: list[Held] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A sentence, the table of what was held, and what failed."""
        lines = [
            f"{self.trials} trials, {self.killed} workers killed and {self.stopped} stopped; "
            f"the longest wait between two records was {self.longest:.1f} s.",
            "",
            "| records | resident, MiB | of its own, MiB | descriptors |",
            "| --: | --: | --: | --: |",
        ]
        lines += [
            f"| {one.records:,} | {one.resident / 2**20:.0f} | {one.own / 2**20:.0f} | {one.descriptors} |"
            for one in self.held
        ]
        return "\n".join([*lines, *(["", *(f"- {text}" for text in self.failures)] if self.failures else [])]) + "\n"


def soak(work: Path, launcher: Launcher, trials: int, faults: int = 0, seed: int = 0, cold: bool = True) -> Soak:
    """Run `trials` trials in the scratch folder `work`, with `faults` kills and stops of single workers on the way.

    The faults come after equal numbers of records, each to a worker drawn by chance. cold: the run is a new
    interpreter, so that its parent holds what a user's does.
    """
    file, folder = work / "many.toml", work / "out"
    file.write_text(SUITE.format(trials=trials), encoding="utf-8")
    command = ["run", str(file), "--out", str(folder), "--lanes", "1", "--workers", "2"]
    found, dice = Soak(trials), random.Random(f"{seed} soak")
    run = launcher.start(command, work, cold)
    looks = [max(1, round(share * trials)) for share in SHARES]
    moments = [(number + 1) * trials // (faults + 1) for number in range(faults)]
    seen, since, stopped = 0, time.monotonic(), _Stopped()
    while run.poll() is None:
        now, count = time.monotonic(), _count(folder)
        stopped.resume(now)
        if count > seen or count == trials:
            found.longest = max(found.longest, now - since) if seen else 0.0  # starting is no wait
            seen, since = count, now
        elif now - since > STALLED:
            found.failures.append(f"no record in {STALLED:.0f} s after {seen} of {trials}")
            break
        while looks and seen >= looks[0]:
            looks.pop(0)
            found.held += _held(run, seen)
        if moments and seen >= moments[0] and _disturb(run, dice, found, stopped):
            moments.pop(0)
        time.sleep(POLL)
    found.failures += failures_of(run, run.poll(), {0})
    found.failures += wrong(whole_lines(folder), trials)
    if moments:
        found.failures.append(f"{len(moments)} of {faults} faults found no worker")
    return found


def _count(folder: Path) -> int:
    """How many whole records there are."""
    with contextlib.suppress(OSError):
        return (folder / RECORDS).read_bytes().count(b"\n")
    return 0


def _held(run: Run, records: int) -> list[Held]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(run.pid)
        memory = parent.memory_full_info()
        return [Held(records, int(memory.rss), int(memory.uss), parent.num_fds())]
    return []


class _Stopped:
    """Workers that are stopped now, each until its moment of the monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[psutil.Process, float] = {}

    def stop(self, worker: psutil.Process, seconds: float) -> None:
        worker.suspend()
        self._until[worker] = time.monotonic() + seconds

    def resume(self, now: float) -> None:
        """Let those go on whose moment has come."""
        for worker in [worker for worker, until in self._until.items() if until <= now]:
            del self._until[worker]
            with contextlib.suppress(psutil.Error):
                worker.resume()


def _disturb(run: Run, dice: random.Random, found: Soak, stopped: _Stopped) -> bool:
    """Kill or stop one worker; False where there is none now."""
    workers = run.workers()
    if not workers:
        return False
    worker = dice.choice(workers)
    try:
        if dice.random() < 0.5:
            worker.send_signal(signal.SIGKILL)
            found.killed += 1
        else:
            stopped.stop(worker, dice.uniform(MIN_STOP, MAX_STOP))
            found.stopped += 1
    except psutil.Error:
        return False
    return True


def wrong(lines: Sequence[bytes], trials: int) -> list[str]:
    """What is wrong with the records: every trial has one, and each was spent."""
    records = [parse(line) for line in lines]
    counts = Counter(record["key"] for record in records if record)
    found = [] if None not in records else [f"{records.count(None)} lines are no records"]
    if len(counts) != trials or set(counts.values()) != {1}:
        found.append(f"{sum(counts.values())} records of {len(counts)} trials, {trials} were planned")
    if others := Counter(json.dumps(record["status"]) for record in records if record and record["status"] != "spent"):
        found.append(f"not spent: {', '.join(f'{count} {status}' for status, count in others.items())}")
    return found
