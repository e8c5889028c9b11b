"""Verify: a random sample of a submission's trials is run again here, and what is determined by the trial compared.

Clocks and memory are not compared. The other fields of a trial are the same on the same machine, the same torch and the
same width of lanes. Elsewhere the last bits differ, and training magnifies them. So losses may differ by `CLOSE`, or by
what the seeds of the trial's cell differ among themselves.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optbench.archive.submissions import SELF, find, opened
from optbench.core.trial import RequestError, Trial
from optbench.execution import machine
from optbench.execution.executor import execute
from optbench.execution.learned import LearnedCatalog
from optbench.execution.options import RunOptions
from optbench.execution.pool import PoolExecutor
from optbench.execution.suite import read_suite
from optbench.execution.task import LaneGroup, Task, resolve
from optbench.records.files import SUITE, read_environment, read_records
from optbench.records.manifest import SELF_REPORTED, VERIFIED, plain, seal
from optbench.records.merge import builds
from optbench.records.reference import differ
from optbench.records.schema import Record
from optbench.records.splits import fact_of

SAME = 2e-7  # relative: a packed record keeps eight digits, and single precision has seven
START = 1e-4  # relative, of the loss that a trial starts at: nothing is magnified yet
CLOSE = 0.05  # relative, of the distance to the best loss known: what other rounding, magnified by training, may change
CLOSE_SHARE, CLOSE_FACTOR = 1e-3, 3.0  # nearer to the best loss than this share of the start, within that factor
MIN_SEEDS = 3  # of a cell, whose range of losses then says what another trajectory may end at
WIDER = 0.5  # of that range on either side: a further seed falls outside of ten others in 18 % of cells
OWN_WORK = 2.0  # factor: what an optimizer computes by itself is shared out among the lanes of a program
SOLVED = 1e-6  # share of the start below which a distance is rounding
ENDED = ("spent", "finished", "diverged")  # statuses that a trial determines; time and memory end the others
COUNTS = ("forward", "backward", "evaluations", "nonfinite", "flops")
KNOWN = ("torch", "pytorch_optimizer", "nevergrad", "scipy", "optbench")  # packages that a submission may name
_MODULE = re.compile(r"([^\s\[\](){}+,=]+):[A-Za-z_]")
MAX_SECONDS, MAX_GIB = 600.0, 16.0  # that a trial gets here, whatever the submission asks for
THREADS = 1  # of a worker, as every run has


@dataclass(frozen=True)
class Compared:
    """One trial of the sample. outcome: "same", "close", "differs" or "not compared". why: in words, or empty."""

    record: Record
    outcome: str
    why: str = ""

    @property
    def line(self) -> str:
        one = self.record
        text = f"{self.outcome:<12} {plain(one.problem, 60)} x {plain(one.label, 80)}, seed {one.seed}"
        return text + (f": {plain(self.why)}" if self.why else "")


@dataclass(frozen=True)
class Verification:
    """What came of it. folder: the submission. elsewhere: what differs from where it was made, in words."""

    folder: Path
    manifest: Mapping[str, Any]
    trials: Sequence[Compared]
    seed: int
    elsewhere: str

    def count(self, outcome: str) -> int:
        return sum(one.outcome == outcome for one in self.trials)

    @property
    def holds(self) -> bool:
        """Whether something was compared and nothing differs."""
        return self.count("differs") == 0 and self.count("same") + self.count("close") > 0

    @property
    def sentences(self) -> list[str]:
        """What was found, the tolerance, and what could not be compared."""
        same, close, differs, left = map(self.count, ("same", "close", "differs", "not compared"))
        out = [
            f"{self.manifest['name']}: of {len(self.trials)} sampled trials {same} are the same to 7 digits, {close} "
            f"agree within the tolerance, {differs} differ, {left} could not be compared."
        ]
        out.append(
            f"The tolerance: losses at the start within {START:g}, relative; distances to the best loss known within "
            f"{100 * CLOSE:g} %, or within a factor of {CLOSE_FACTOR:g} below {100 * CLOSE_SHARE:g} % of the start, or "
            f"within the range of {MIN_SEEDS} seeds or more of the same settings, half as wide again on either side."
        )
        if self.elsewhere:
            out.append(f"{self.elsewhere}, so last bits may differ, and training magnifies them.")
        return out

    def mark(self) -> None:
        """Write what was found into the manifest. Raises RequestError where it cannot be written."""
        counts = {"sampled": len(self.trials), "seed": self.seed, "same": self.count("same")}
        counts |= {"close": self.count("close"), "differ": self.count("differs")}
        counts |= {"not_compared": self.count("not compared")}
        told = {"optbench": machine.VERSION, "torch": machine.versions()["torch"], **counts}
        facts = {key: value for key, value in self.manifest.items() if key not in ("format", "files", "sha256")}
        try:
            seal(self.folder, facts | {"kind": VERIFIED if self.holds else SELF_REPORTED, "verification": told})
        except OSError as error:
            raise RequestError(f"cannot write the manifest of {self.folder}: {error.strerror}") from None


def verify(
    name: str,
    sample: int = 20,
    seed: int = 0,
    plugins: Sequence[str] = (),
    trust: bool = False,
    workers: int | None = None,
    say: Callable[[str], Any] = print,
) -> Verification:
    """Run a sample of a submission's trials again and compare.

    name: ARCHIVE/NAME, or a built-in reference. sample: how many trials. seed: of the sample. plugins: files with the
    optimizers and problems that it names. trust: import whatever modules it names; code of a stranger runs as you do.
    workers: processes, one a core where it is left out. say: told each trial as it is compared.

    Raises RequestError for a submission that is not as its manifest states, and for a sample of no trial.
    """
    folder = find(name)
    manifest = opened(folder)
    if sample < 1 or seed < 0:
        raise RequestError(f"--sample {sample} must be 1 or more, and --seed {seed} 0 or more")
    records, broken = read_records(folder)
    if broken:
        raise RequestError(f"{folder}: {len(broken)} lines of its records are no records")
    facts = read_environment(folder)
    drawn = sorted((one for one in records if one.status in ENDED), key=lambda one: one.key)
    if not drawn:
        raise RequestError(f"{folder} has no trial that ended by itself, so none can be run again")
    drawn = random.Random(seed).sample(drawn, min(sample, len(drawn)))
    ends: dict[tuple[str, str, int], list[float]] = {}
    for record in records:
        if record.curve and record.status in ENDED:
            ends.setdefault((record.problem, record.label, record.split), []).append(record.curve[-1]["loss"])
    found: list[Compared] = []
    for one in _compared(drawn, ends, facts, folder, tuple(plugins), trust, workers):
        say(one.line)
        found.append(one)
    return Verification(folder, manifest, found, seed, _elsewhere(facts))


def _compared(
    records: Sequence[Record],
    ends: Mapping[tuple[str, str, int], Sequence[float]],
    facts: Mapping[str, Any],
    folder: Path,
    plugins: tuple[str, ...],
    trust: bool,
    workers: int | None,
) -> Iterator[Compared]:
    """Every record of the sample: those that cannot be run first, then the others as they end."""
    budget = facts.get("budget") or {}
    until = str((budget.get("until") or {}).get("text", ""))
    waiting: dict[str, tuple[Record, Task]] = {}
    with LearnedCatalog(plugins) as catalog:
        checked: dict[tuple[str, int], str] = {}
        for record in records:
            who = record.problem, record.optimizer, _settings(record), record.seed, record.budget, record.device
            trial = Trial(*who, until=until, split=record.split)
            why = _not_run(record, budget, plugins, trust)
            if not why and trial.key != record.key:
                yield Compared(record, "differs", "its key is not that of the trial that it states")
                continue
            try:
                if not why:
                    task = resolve([trial], catalog)[0]
                    where = record.problem, record.split
                    if where not in checked:
                        stated = _stated(record, facts) | {"splits": {}}
                        here = catalog.facts(record.problem, task.problem, record.device, record.split)
                        changed = differ(stated, here)
                        checked[where] = "the problem has changed since, in data, targets or network" if changed else ""
                    why = checked[where] or task.unsupported_reason or ""
            except RequestError as error:
                why = str(error)
            if why:
                yield Compared(record, "not compared", why)
            else:
                waiting[record.key] = record, task
        if waiting:
            options = _options(folder, facts, plugins, workers)
            groups = [
                LaneGroup((task.trial,), task.third_party, task.files, task.scorer) for _, task in waiting.values()
            ]
            with TemporaryDirectory() as spool:
                count = min(options.workers or 1, len(groups))
                executor = PoolExecutor(catalog, options, Path(spool) / "spool", count, THREADS)
                for outcome in execute(executor, groups):
                    for again in outcome.records:
                        record, task = waiting[again.key]
                        same_source = task.fingerprint == record.fingerprint
                        yield _told(
                            record,
                            again,
                            ends.get((record.problem, record.label, record.split), ()),
                            facts,
                            same_source,
                        )


def _settings(record: Record) -> tuple[tuple[str, Any], ...]:
    """The settings of a record as a trial has them."""
    return tuple((name, tuple(value) if isinstance(value, list) else value)
                 for name, value in sorted(record.hyper.items()))  # fmt: skip


def _not_run(record: Record, budget: Mapping[str, Any], plugins: tuple[str, ...], trust: bool) -> str:
    """Why a trial is not run again; empty where it is."""
    if (record.note or "").startswith(SELF):
        return "its own loop counted it, which is not here"
    if budget.get("unit") == "seconds":
        return "its budget is time, and what is done in a second differs"
    if record.device != "cpu":
        try:
            machine.device(record.device)
        except RequestError:
            return f"it ran on {plain(record.device, 20)}, which is not here"
    given = {Path(file).resolve() for file in plugins}
    for module in _MODULE.findall(f"{record.problem} {record.optimizer}"):
        if module.lower().endswith(".py"):
            if Path(module).resolve() not in given:
                return f"it names the Python file {plain(module, 60)}: give it as --plugin"
        elif module.split(".")[0] not in KNOWN and not trust:
            return f"it names the module {plain(module, 60)}, which would be imported: --trust does"
    return ""


def _options(folder: Path, facts: Mapping[str, Any], plugins: tuple[str, ...], workers: int | None) -> RunOptions:
    timeout, memory = MAX_SECONDS, MAX_GIB
    with contextlib.suppress(RequestError):
        suite = read_suite(str(folder / SUITE))
        timeout, memory = min(suite.timeout, timeout), min(suite.memory, memory)
    eager = facts.get("eager") is True
    return RunOptions(
        workers=workers or os.cpu_count() or 1, lanes=1, plugins=plugins, eager=eager, timeout=timeout, memory=memory
    )


def _told(
    record: Record, again: Record, ends: Sequence[float], facts: Mapping[str, Any], same_source: bool
) -> Compared:
    """How the record of a trial compares with that of the same trial here. ends: the losses of its cell."""
    if again.status in ("timeout", "killed", "failed"):
        return Compared(record, "not compared", f"here it ended as {again.status}: {again.error}")
    different = first_difference(record, again)
    if not different:
        return Compared(record, "same")
    if not (beyond := beyond_tolerance(record, again, _best(record, facts), ends)):
        return Compared(record, "close", different)
    if not same_source:
        return Compared(
            record, "not compared", f"the source of its problem or optimizer has changed since, and {beyond}"
        )
    if _torch(facts) != machine.versions()["torch"]:
        return Compared(record, "not compared", f"torch was {_torch(facts)}, here it is another, and {beyond}")
    return Compared(record, "differs", beyond)


def first_difference(record: Record, again: Record) -> str:
    """The first determined field in which two records of a trial differ in the digits that are kept, in words."""
    for name in ("status", *COUNTS):
        if getattr(record, name) != getattr(again, name):
            return f"{name} {getattr(record, name)}, here {getattr(again, name)}"
    if len(record.curve) != len(again.curve):
        return f"{len(record.curve)} points of its curve, here {len(again.curve)}"
    for place, (one, two) in enumerate(zip(record.curve, again.curve, strict=True)):
        for name in sorted({*one, *two} - {"seconds", "own_flops"}):
            a, b = one.get(name, math.nan), two.get(name, math.nan)
            if not (math.isclose(a, b, rel_tol=SAME, abs_tol=1e-30) or (math.isnan(a) and math.isnan(b)) or a == b):
                return f"{name} {a:.8g} at point {place}, here {b:.8g}"
    return ""


def beyond_tolerance(record: Record, again: Record, best: float, ends: Sequence[float] = ()) -> str:
    """What no rounding explains, in words; empty where nothing is.

    best: the lowest loss known of the problem. ends: the losses at the budget of all seeds of its cell.
    """
    if (record.status == "diverged") != (again.status == "diverged"):
        return f"it is {record.status}, here {again.status}"
    if not record.curve or not again.curve:
        return "" if bool(record.curve) == bool(again.curve) else "one of the two has no curve"
    start, here = record.curve[0]["loss"], again.curve[0]["loss"]
    if not math.isclose(start, here, rel_tol=START, abs_tol=1e-12):
        return f"it starts at {start:.6g}, here at {here:.6g}"
    if record.status == "diverged":
        return ""
    end, found = record.curve[-1]["loss"], again.curve[-1]["loss"]
    own, owned = record.own_flops or 0, again.own_flops or 0
    if max(own, owned) > OWN_WORK * min(own, owned) + record.flops:
        return f"it computed {own:.3g} operations by itself, here {owned:.3g}"
    if len(ends) >= MIN_SEEDS:
        room = WIDER * (max(ends) - min(ends))
        if min(ends) - room <= found <= max(ends) + room:
            return ""
    if not _near(end - best, found - best, start - best):
        return f"it ends at {end:.6g}, here at {found:.6g}"
    lowest, low = (
        min(point["loss"] for point in one.curve if not math.isnan(point["loss"])) for one in (record, again)
    )
    if not _near(lowest - best, low - best, start - best):
        return f"its curve goes down to {lowest:.6g}, here to {low:.6g}"
    if not math.isclose(record.passes, again.passes, rel_tol=CLOSE):
        return f"it spent {record.passes:.6g} passes, here {again.passes:.6g}"
    return ""


def _near(one: float, other: float, start: float) -> bool:
    """Whether two distances to the best loss are as near as the tolerance asks; NaN is near NaN alone."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if math.isclose(one, other, rel_tol=CLOSE) or max(abs(one), abs(other)) <= SOLVED * abs(start):
        return True
    small, large = sorted((abs(one), abs(other)))
    return large <= CLOSE_SHARE * abs(start) and large <= CLOSE_FACTOR * max(small, SOLVED * abs(start))


def _stated(record: Record, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the submission states of a record's problem, on its split of the data."""
    return fact_of((facts.get("problems") or {}).get(record.problem) or {}, record.split)


def _best(record: Record, facts: Mapping[str, Any]) -> float:
    """The lowest loss that the submission states of a problem, 0 where it states none."""
    value = (_stated(record, facts).get("best") or {}).get("value")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


def _torch(facts: Mapping[str, Any]) -> str:
    return plain((facts.get("versions") or {}).get("torch", "unknown"), 40)


def _elsewhere(facts: Mapping[str, Any]) -> str:
    """What of the place where a submission was made is not as here, in words; empty where nothing is."""
    found = []
    if _torch(facts) != machine.versions()["torch"]:
        found.append(f"torch was {_torch(facts)}, here it is {machine.versions()['torch']}")
    there, here = (facts.get("machine") or {}).get("cpu"), machine.describe()["cpu"]
    if there != here:
        found.append(f"the processor was {plain(there, 60)}, here it is {plain(here, 60)}")
    if len(made := builds(facts)) > 1:
        found.append(f"it was made by several versions, {'; '.join(made)}")
    text = ", and ".join(found)
    return text[:1].upper() + text[1:]
