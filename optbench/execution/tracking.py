"""A training loop of one's own as a trial of a result folder: counted and clocked from inside, and marked so."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any

from optbench.core.trial import LOWEST_SEEN, RequestError, Trial
from optbench.execution import machine
from optbench.records.files import ENVIRONMENT, read_environment
from optbench.records.merge import join_environments
from optbench.records.schema import Record, clean
from optbench.records.store import Store
from optbench.registry.specs import parse

BACKWARD_FORWARDS = 2.0  # forward passes that a backward pass counts as: nobody can see a foreign loop's FLOPs
TAUS = (0.5, 0.1, 1e-2)
NOTE = "self-reported: counted and clocked by the loop itself"


class Tracked:
    """One trial under way. Its clock runs inside the context, and stands still while points are scored.

    problem: what the trials of a comparison share. optimizer: what is compared, like "adam[lr=0.01]". samples: in the
    training set. passes: the budget that was planned. Raises RequestError for numbers that make no sense.
    """

    def __init__(
        self, out: str | Path, problem: str, optimizer: str, seed: int, samples: int, passes: float, device: str
    ) -> None:
        if samples < 1 or not (passes > 0 and math.isfinite(passes)):
            raise RequestError(f"samples={samples} and passes={passes} must be positive")
        (name, hyper), *more = parse(optimizer)
        if more:
            raise RequestError(f"{optimizer!r} names several settings, and one loop is one trial")
        trial = Trial(problem, name, tuple(sorted(hyper.items())), seed, float(passes), device)
        self._folder, self._samples, self._trial = Path(out), samples, trial
        self.record = Record(trial.key, problem, name, hyper, seed, float(passes), device, "failed", note=NOTE)
        self._seconds, self._since = 0.0, perf_counter()

    def step(self, samples: int, *, backward: bool = True) -> None:
        """Count so many samples that went forward, and backward where that was a gradient step."""
        if samples < 0:
            raise ValueError(f"{samples} samples: nothing is given back")
        self.record.forward += samples
        self.record.backward += samples * backward
        self.record.evaluations += 1

    @property
    def passes(self) -> float:
        """Forward passes over the training set so far; a backward pass counts as two."""
        return (self.record.forward + BACKWARD_FORWARDS * self.record.backward) / self._samples

    @property
    def done(self) -> bool:
        """Whether the budget is spent: for `while not t.done`."""
        return self.passes >= self.record.budget * (1 - 1e-9)

    def point(self, loss: float, **metrics: float) -> None:
        """Add a point to the curve: the training loss, and metrics such as valid_loss or test_accuracy."""
        with self.paused():
            at = {"passes": self.passes, "forward": self.record.forward, "backward": self.record.backward}
            found = {name: float(value) for name, value in {"loss": loss, **metrics}.items()}
            self.record.curve.append({**at, "seconds": self._seconds, **found})

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still inside: for scoring and logging."""
        self._seconds += perf_counter() - self._since
        try:
            yield
        finally:
            self._since = perf_counter()

    def __enter__(self) -> Tracked:
        self._since = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._seconds += perf_counter() - self._since
        record = self.record
        record.passes, record.seconds = self.passes, self._seconds
        record.flops = round(record.passes * self._samples)
        if record.seconds > 0:
            record.samples_per_second = record.forward / record.seconds
        if error is not None:
            record.error = f"{type(error).__name__}: {clean(' '.join(str(error).split()))[:300]}"
        elif not record.curve:
            record.error = "no point was reported; call point(loss=...) where the loop scores"
        elif not math.isfinite(record.curve[-1]["loss"]):
            record.status, record.error = "diverged", f"the loss was {record.curve[-1]['loss']}"
        else:
            record.status = "spent" if self.done else "finished"
        self._write()

    def _write(self) -> None:
        """The record and what the report has to know; a trial of the same key is replaced."""
        before = read_environment(self._folder) if self._folder.is_dir() else {}
        facts = self._facts()
        with Store(self._folder) as results:
            results.forget([self.record.key])
            results.append(self.record)
            joined = join_environments([before, facts]) if before else facts
            results.write(ENVIRONMENT, json.dumps(joined, indent=1) + "\n")

    def _facts(self) -> dict[str, Any]:
        curve = self.record.curve

        def goal(column: str) -> dict[str, Any]:
            start = curve[0].get(column, math.nan) if curve else math.nan
            best = {"value": None, "source": LOWEST_SEEN}
            return {"start": start if math.isfinite(start) else None, "best": best, "targets": {}, "taus": list(TAUS)}

        fact = {
            "summary": "a training loop of somebody's own, self-reported",
            "track": "supervised",
            "loss": "own",
            "train": self._samples,
            "flops_per_pass": float(self._samples),
            "passes": self.record.budget,
            **goal("loss"),
        }
        if curve and "valid_loss" in curve[0]:
            fact["validation"] = goal("valid_loss")
        trial = self._trial
        planned = {**trial.as_data(), "hyper": dict(trial.hyper), "budget": trial.passes, "key": trial.key}
        return {
            "format": 1,
            "optbench": machine.VERSION,
            "suite": self._folder.name,
            "command": "optbench.track(...)",
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine.describe(),
            "versions": machine.versions(),
            "plan": [planned],
            "problems": {trial.problem: fact},
            "optimizers": {trial.optimizer: {"family": "plugin", "summary": "self-reported"}},
        }
