"""The trials that the checks of one optimizer on one problem need, each run once for all of them."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from optbench.core.objective import Objective
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.execution.lane_group import run_group
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.testing.hints import with_hint

SHORT = 7.0  # passes of the short trial
LANES = 3


class CheckError(AssertionError):
    """A check that does not hold; the text says what was seen and what to do about it."""


class Runs:
    """Trials of one optimizer on one problem. Each attribute runs its trial when it is first read, and keeps it.

    Every attribute raises CheckError, always with the same text, where a trial fails.
    """

    def __init__(self, trial: Trial, catalog: Catalog) -> None:
        self.trial, self.catalog = trial, catalog
        self._failed: str | None = None

    @cached_property
    def full(self) -> Record:
        """The trial."""
        return self._full[0]

    @cached_property
    def refused(self) -> int:
        """How often the trial called its objective after Stop."""
        return self._full[1].spent.refused

    @cached_property
    def _full(self) -> tuple[Record, Objective]:
        started: list[Objective] = []
        record = self._one(self.trial, started)
        return record, started[0]

    @cached_property
    def again(self) -> Record:
        """The same trial after `full`, the global generators elsewhere."""
        _ = self.full
        torch.rand(7), np.random.rand(7), random.random()
        return self._one(self.trial)

    @cached_property
    def short(self) -> Record:
        """The trial with a budget of `SHORT` passes."""
        return self._short[0]

    @cached_property
    def changes(self) -> list[str]:
        """What the short trial left changed in its process, a phrase each."""
        return self._short[1]

    @cached_property
    def _short(self) -> tuple[Record, list[str]]:
        before, data = self._process(), self._data()
        record = self._one(replace(self.trial, passes=SHORT))
        changes = [
            f"{name} is {value} afterwards, it was {before[name]}"
            for name, value in self._process().items()
            if value != before[name]
        ]
        if not all(map(torch.equal, data, self._tensors())):
            changes.append("the problem's data has other values afterwards")
        return record, changes

    @cached_property
    def together(self) -> list[Record]:
        """Three seeds of the trial as lanes of one group."""
        return run_group(self._seeds, self.catalog)

    @cached_property
    def one_by_one(self) -> list[Record]:
        """The same seeds, each a group of its own."""
        return [self.full, *(self._one(trial) for trial in self._seeds[1:])]

    @property
    def _seeds(self) -> list[Trial]:
        return [replace(self.trial, seed=seed) for seed in range(LANES)]

    def _one(self, trial: Trial, started: list[Objective] | None = None) -> Record:
        if self._failed is None:
            record = run_group([trial], self.catalog, on_start=None if started is None else started.append)[0]
            if record.status in ("spent", "finished"):
                return record
            self._failed = with_hint(f"status {record.status}: {record.error}")
        raise CheckError(self._failed)

    def _tensors(self) -> list[torch.Tensor]:
        data = splits(self.catalog.problem(self.trial.problem), "cpu")
        return [tensor for part in data if part for tensor in part]

    def _data(self) -> list[torch.Tensor]:
        return [tensor.clone() for tensor in self._tensors()]

    @staticmethod
    def _process() -> dict[str, Any]:
        """What a trial could change for those that run after it in the same process."""
        return {
            "torch's default type": torch.get_default_dtype(),
            "torch's default device": torch.get_default_device(),
            "torch's number of threads": torch.get_num_threads(),
            "torch's gradient mode": torch.is_grad_enabled(),
            "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
            "torch's anomaly detection": torch.is_anomaly_enabled(),
            "NumPy's error handling": np.geterr(),
            "the working directory": os.getcwd(),
            "the number of threads": threading.active_count(),
        }
