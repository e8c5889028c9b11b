"""One fault after another: a run is disturbed, started again without a fault, and verified."""

from __future__ import annotations

import contextlib
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from optbench.testing.faults import files, processes
from optbench.testing.faults.ending import failures_of
from optbench.testing.faults.launch import Launcher
from optbench.testing.faults.outcome import Outcome, as_they_end
from optbench.testing.faults.scene import ENDINGS, Kind, Scene, sleep_within, unmount
from optbench.testing.faults.verify import (
    check_folder,
    check_records,
    read_records,
    whole_lines,
)

KINDS: dict[str, Kind] = {**processes.kinds(), **files.kinds()}
SUITE = """description = "a small suite that faults disturb"
problems = ["rosenbrock"]
optimizers = ["adam", "pso", "sgd"]
seeds = 2
passes = 40
timeout = 60
memory = 2
"""
LANES = 2  # fixed: which trials train together must not depend on the machine's speed
DEADLINE = 300.0  # seconds that a run of the small suite may take before it counts as stalled, on a busy machine too
TRIES = 4  # with ever earlier moments, for a fault whose run was over before it came
SHARE_COLD = 0.1  # of the disturbed runs start a new interpreter; the others are forked from a warm one


@dataclass(frozen=True)
class Reference:
    """What an undisturbed run leaves, and how long it takes."""

    folder: Path
    records: Mapping[int, Mapping[str, Mapping[str, Any]]]  # {lanes: {key: record}}
    seconds: float  # that the undisturbed runs took, side by side


class Campaign:
    """Faults of one seed in a scratch folder. Fault number i is the same at every call, but for the machine's pace."""

    def __init__(self, work: Path, launcher: Launcher, seed: int, suite: str = SUITE, lanes: int = LANES) -> None:
        """suite: the text of a suite file; lanes: how many trials its runs train together, 1 or 2."""
        self._work, self._launcher, self._seed, self._lanes = work, launcher, seed, lanes
        self._suite = work / "small.toml"
        self._suite.write_text(suite, encoding="utf-8")
        self._reference = self._undisturbed()

    def run(self, plan: Sequence[tuple[int, str]], jobs: int) -> Iterator[Outcome]:
        """The outcomes of (index, kind) as they end; `jobs` faults are under way at a time."""
        return as_they_end([partial(self.fault, *one) for one in plan], jobs)

    def fault(self, index: int, name: str) -> Outcome:
        """Disturb one run, recover and verify."""
        kind, outcome = KINDS[name], Outcome(name, index)
        for attempt in range(TRIES):
            logs = self._work / f"{index}_{attempt}"
            logs.mkdir()
            # Text, for a hash of other things differs from process to process.
            rng = random.Random(f"{self._seed} {index} {name}")
            scene = self._scene(rng, logs)
            with contextlib.ExitStack() as at_end:
                at_end.callback(shutil.rmtree, logs, ignore_errors=True)
                if kind.mounts:
                    at_end.callback(unmount, scene.folder)
                if self._disturb(kind, scene, outcome, 0.6**attempt):
                    self._recover(kind, scene, outcome)
                    return outcome
        return outcome

    def _undisturbed(self) -> Reference:
        """Run the suite undisturbed at both widths that a resumed group may have."""
        runs, folders, began = {}, {}, time.monotonic()
        for lanes in sorted({1, self._lanes}):
            logs = self._work / f"undisturbed_{lanes}"
            logs.mkdir()
            folders[lanes] = logs / "out"
            runs[lanes] = self._launcher.start(self._command(folders[lanes], lanes), logs)
        for lanes, run in runs.items():
            wrong = failures_of(run, run.wait(DEADLINE), {0}) + check_folder(folders[lanes])
            if wrong:
                raise RuntimeError(f"an undisturbed run is not well: {'; '.join(wrong)}")
        records = {lanes: read_records(folder) for lanes, folder in folders.items()}
        return Reference(folders[self._lanes], records, time.monotonic() - began)

    def _command(self, folder: Path, lanes: int) -> list[str]:
        return ["run", str(self._suite), "--out", str(folder), "--lanes", str(lanes), "--workers", "2"]

    def _scene(self, rng: random.Random, logs: Path) -> Scene:
        folder = logs / "out"
        return Scene(rng, logs, folder, self._reference.folder, self._command(folder, self._lanes), self._launcher)

    def _disturb(self, kind: Kind, scene: Scene, outcome: Outcome, earlier: float) -> bool:
        """Do the fault and wait for the disturbed run to end; False where the run was over first."""
        outcome.failures.clear()
        if kind.at_rest:
            kind.inject(scene)
            outcome.detail, outcome.injected = scene.detail.strip(": "), True
            return True
        with scene.undo:
            if kind.prepare:
                kind.prepare(scene)
            cold = scene.rng.random() < SHARE_COLD if kind.cold is None else kind.cold
            scene.run = self._launcher.start(scene.command, scene.logs, cold, scene.environment)
            done = self._at_its_moment(kind, scene, cold, earlier)
            code = scene.run.wait(DEADLINE)
            outcome.detail, outcome.injected = scene.detail, done
            outcome.failures += failures_of(scene.run, code, kind.endings)
            codes = [code]
            for name, run in scene.beside:
                codes.append(run.wait(DEADLINE))
                outcome.failures += [f"{name}: {text}" for text in failures_of(run, codes[-1], ENDINGS)]
            if scene.beside and 0 not in codes:
                outcome.failures.append("none of the commands ended well")
        return done

    def _at_its_moment(self, kind: Kind, scene: Scene, cold: bool, earlier: float) -> bool:
        """Wait for a random moment, or a random count of records, and do the fault; False where the run is over."""
        planned = len(self._reference.records[self._lanes])
        while scene.alive and scene.run and not scene.run.begun:
            time.sleep(0.005)
        began = time.monotonic()
        if scene.rng.random() < 0.5:
            seconds = self._reference.seconds + (self._launcher.imports if cold else 0)
            sleep_within(scene, earlier * scene.rng.uniform(0, seconds))
        else:
            wanted = int(earlier * scene.rng.randrange(planned))
            while scene.alive and scene.records() < wanted:
                time.sleep(0.005)
            sleep_within(scene, scene.rng.uniform(0, 0.3))
        while scene.alive:
            scene.detail = f"{'cold' if cold else 'warm'}, {time.monotonic() - began:.2f} s, {scene.records()} records"
            if kind.inject(scene):
                return True
            time.sleep(0.01)
        return False

    def _recover(self, kind: Kind, scene: Scene, outcome: Outcome) -> None:
        """Run the same command to its end without a fault, and verify what it leaves."""
        known = set(whole_lines(self._reference.folder))
        now = whole_lines(scene.folder)
        before = [line for line in now if line in known] if kind.at_rest else now if kind.keeps else []
        began = time.monotonic()
        run = self._launcher.start(scene.command, scene.logs)
        code = run.wait(DEADLINE)
        outcome.seconds = time.monotonic() - began
        wrong = failures_of(run, code, frozenset({0}))
        wrong += check_records(
            whole_lines(scene.folder), self._reference.records, before, others_allowed=kind.others_allowed
        )
        wrong += check_folder(scene.folder)
        outcome.failures += [f"afterwards: {text}" for text in wrong]
