"""What every optimizer is checked for: it stops, repeats, gets somewhere, uses one oracle and keeps its lanes apart."""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from optbench.core.objective import Objective, Stop, Structure
from optbench.core.trial import RequestError, Trial
from optbench.engine.metered import metered
from optbench.execution.lane_group import batch_size, run_group
from optbench.records.schema import Record
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

BUDGET = 120.0  # passes of a checked trial
PROBLEMS = ("sphere", "mlp_iris")  # where an optimizer is checked, unless it says `checked_on = ("problem", ...)`


class CheckError(AssertionError):
    """A check that does not hold; the text says what was seen."""


def optimizer_checks(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """The checks of an optimizer's spec, on the problems it is checked on."""
    base, hyper = parse(name)[0]
    built = catalog.optimizer(base, hyper)
    found: dict[str, Callable[[], None]] = {}
    for problem in getattr(built.optimizer, "checked_on", PROBLEMS):
        if built.needs not in catalog.problem(problem).gives:
            continue
        trial = Trial(problem, base, tuple(sorted(hyper.items())), 0, BUDGET)
        found[f"stops on budget ({problem})"] = partial(_stops, trial, catalog)
        found[f"same trial, same record ({problem})"] = partial(_repeats, trial, catalog)
        found[f"leaves its process as it was ({problem})"] = partial(_leaves_no_trace, trial, catalog)
        found[f"beats its start ({problem})"] = partial(beats_start, trial, catalog)
        found[f"uses only its declared oracle ({problem})"] = partial(_keeps_to_oracle, trial, catalog)
        if built.lanes:
            found[f"lanes equal serial ({problem})"] = partial(_lanes_equal_serial, trial, catalog)
    if not found:
        raise RequestError(f"{name} fits none of {', '.join(PROBLEMS)}: state checked_on = (problem, ...) on its class")
    return found


def _run(trial: Trial, catalog: Catalog) -> Record:
    record = run_group([trial], catalog)[0]
    if record.status not in ("spent", "finished"):
        raise CheckError(f"status {record.status}: {record.error}")
    return record


def _stops(trial: Trial, catalog: Catalog) -> None:
    for passes in (trial.passes, 7.0):
        short = replace(trial, passes=passes)
        record = _run(short, catalog)
        if record.passes > passes and record.certificate is None:
            raise CheckError(f"spent {record.passes:g} passes of a budget of {passes:g}")
    started: list[Objective] = []
    run_group([trial], catalog, on_start=started.append)
    if refused := started[0].spent.refused:
        raise CheckError(f"called the objective {refused} times after Stop: it must let Stop pass")


def _repeats(trial: Trial, catalog: Catalog) -> None:
    first = _run(trial, catalog)
    torch.rand(7), np.random.rand(7), random.random()  # where the global streams stand must not matter
    again = _run(trial, catalog)
    if len(first.curve) != len(again.curve):
        raise CheckError(f"{len(first.curve)} points once and {len(again.curve)} again")
    for one, two in zip(first.curve, again.curve, strict=True):
        for key in one:
            if key != "seconds" and one[key] != two[key]:
                raise CheckError(f"{key} is {one[key]!r} once and {two[key]!r} again, after {one['passes']:g} passes")


def beats_start(trial: Trial, catalog: Catalog) -> None:
    """Raises CheckError unless the trial ends at a lower loss than it began."""
    curve = _run(trial, catalog).curve
    if not curve[-1]["loss"] < curve[0]["loss"]:
        raise CheckError(f"ends at a loss of {curve[-1]['loss']:g}, it began at {curve[0]['loss']:g}")


def _leaves_no_trace(trial: Trial, catalog: Catalog) -> None:
    before = _process()
    _run(replace(trial, passes=7.0), catalog)
    for name, value in _process().items():
        if value != before[name]:
            raise CheckError(f"{name} is {value} afterwards, it was {before[name]}: put it back, other trials follow")


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


class _Guarded(Objective):
    """An objective that answers nothing but the oracle that the optimizer declares."""

    needs = "value"

    def _allow(self, call: str, *oracles: str) -> None:
        if self.needs not in oracles:
            raise CheckError(f"declares needs = {self.needs!r} but calls {call}")

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._allow("value_and_grad", "grad", "exact")
        return super().value_and_grad(x)

    def parameters(self, lanes: slice = slice(None)) -> list[nn.Parameter]:
        self._allow("parameters", "grad", "exact")
        return super().parameters(lanes)

    def closure(self) -> Tensor:
        self._allow("closure", "grad", "exact")
        return super().closure()

    def structure(self) -> Structure:
        self._allow("structure", "exact")
        return super().structure()


def _keeps_to_oracle(trial: Trial, catalog: Catalog) -> None:
    problem = catalog.problem(trial.problem)
    built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
    f = metered(problem, [0], 30.0, batch=batch_size(built, problem), kind=_Guarded)
    f.needs = built.needs
    with contextlib.suppress(Stop):
        built.optimizer.minimise(f)
    if not f.spent.evaluations and not f.spent.forward:
        raise CheckError("trained without calling the objective once")


def _lanes_equal_serial(trial: Trial, catalog: Catalog) -> None:
    trials = [replace(trial, seed=seed) for seed in range(3)]
    together = run_group(trials, catalog)
    tolerance = 1e-3 if catalog.problem(trial.problem).dtype == torch.float32 else 1e-9
    for lane, single in enumerate(trials):
        alone = _run(single, catalog)
        if len(alone.curve) != len(together[lane].curve):
            raise CheckError(f"seed {lane}: {len(together[lane].curve)} points as a lane, {len(alone.curve)} alone")
        start = max(1e-1, abs(alone.curve[0]["loss"]))
        for one, two in zip(together[lane].curve, alone.curve, strict=True):
            # Line searches amplify a rounding error, most of all where a score falls in the middle of one.
            away = tolerance * start * (1e-2 if two is alone.curve[-1] else 1.0)
            if not math.isclose(one["loss"], two["loss"], rel_tol=tolerance, abs_tol=away):
                raise CheckError(
                    f"seed {lane}: a loss of {one['loss']!r} as a lane, {two['loss']!r} alone, "
                    f"after {one['passes']:g} passes; set `lanes = False` if it mixes its lanes"
                )
