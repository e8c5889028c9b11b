"""What every optimizer is checked for: it stops, repeats, gets somewhere, uses one oracle and keeps its lanes apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch

from optbench.core.trial import RequestError, Trial
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse
from optbench.testing.runs import LANES, CheckError, Runs
from optbench.testing.watched import watched_trial

__all__ = ["CheckError", "beats_start", "optimizer_checks"]

BUDGET = 120.0  # passes of a checked trial
PROBLEMS = ("sphere", "mlp_iris")  # where an optimizer is checked, unless it says `checked_on = ("problem", ...)`


def optimizer_checks(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """The checks of an optimizer's spec, on the problems it is checked on; checks of one problem share their trials.

    Raises RequestError where no problem fits the optimizer.
    """
    base, hyper = parse(name)[0]
    built = catalog.optimizer(base, hyper)
    found: dict[str, Callable[[], None]] = {}
    for problem in getattr(built.optimizer, "checked_on", PROBLEMS):
        if built.needs not in catalog.problem(problem).gives:
            continue
        runs = Runs(Trial(problem, base, tuple(sorted(hyper.items())), 0, BUDGET), catalog)
        found[f"stops on budget ({problem})"] = partial(_stops, runs)
        found[f"same trial, same record ({problem})"] = partial(_repeats, runs)
        found[f"leaves its process as it was ({problem})"] = partial(_leaves_no_trace, runs)
        found[f"beats its start ({problem})"] = partial(_beats_start, runs)
        found[f"uses only its declared oracle ({problem})"] = partial(_keeps_to_oracle, runs, built.needs)
        if built.lanes:
            found[f"lanes equal serial ({problem})"] = partial(_lanes_equal_serial, runs)
    if not found:
        raise RequestError(f"{name} fits none of {', '.join(PROBLEMS)}: state checked_on = (problem, ...) on its class")
    return found


def beats_start(trial: Trial, catalog: Catalog) -> None:
    """Raises CheckError unless the trial ends at a lower loss than it began."""
    _beats_start(Runs(trial, catalog))


def _stops(runs: Runs) -> None:
    for record in (runs.full, runs.short):
        if record.passes > record.budget and record.certificate is None:
            raise CheckError(f"spent {record.passes:g} passes of a budget of {record.budget:g}")
    if runs.refused:
        raise CheckError(f"called the objective {runs.refused} times after Stop: it must let Stop pass")


def _repeats(runs: Runs) -> None:
    first, again = runs.full, runs.again
    differs = None
    if len(first.curve) != len(again.curve):
        differs = f"{len(first.curve)} points once and {len(again.curve)} again"
    for one, two in zip(first.curve, again.curve, strict=False):
        for key in one:
            if not differs and key != "seconds" and one[key] != two[key]:
                differs = f"{key} is {one[key]!r} once and {two[key]!r} again, after {one['passes']:g} passes"
    if differs:
        _leaves_no_trace(runs)  # what it changed for good is then the cause
        raise CheckError(
            f"{differs}: it has a generator that the trial's seed does not set, or keeps something from one trial to "
            "the next; draw from f.rand(...) and f.randn(...), and begin anew in every minimise()"
        )


def _beats_start(runs: Runs) -> None:
    curve = runs.full.curve
    if not curve[-1]["loss"] < curve[0]["loss"]:
        raise CheckError(f"ends at a loss of {curve[-1]['loss']:g}, it began at {curve[0]['loss']:g}")


def _leaves_no_trace(runs: Runs) -> None:
    if runs.changes:
        raise CheckError(f"{'; '.join(runs.changes)}: put it back, other trials follow")


def _keeps_to_oracle(runs: Runs, needs: str) -> None:
    _ = runs.full  # a trial that fails is told as such
    f, _ = watched_trial(runs.trial, runs.catalog, 1, needs)
    if not f.spent.evaluations and not f.spent.forward:
        raise CheckError(
            "trained without calling the objective once: minimise(f) has to ask f.value, f.value_and_grad or f.closure "
            "in its loop, the step of a torch optimizer has to call its closure or to read p.grad"
        )


def _lanes_equal_serial(runs: Runs) -> None:
    exact = runs.catalog.problem(runs.trial.problem).dtype == torch.float64
    tolerance = 1e-9 if exact else 1e-3
    serial = runs.one_by_one
    for lane, (record, alone) in enumerate(zip(runs.together, serial, strict=True)):
        if len(alone.curve) != len(record.curve):
            raise CheckError(
                f"seed {lane}: {len(record.curve)} points as a lane, {len(alone.curve)} alone; {_why(runs)}"
            )
        start = max(1e-1, abs(alone.curve[0]["loss"]))
        for one, two in zip(record.curve, alone.curve, strict=True):
            # Line searches amplify a rounding error, most of all where a score falls in the middle of one.
            away = tolerance * start * (1e-2 if two is alone.curve[-1] else 1.0)
            if not math.isclose(one["loss"], two["loss"], rel_tol=tolerance, abs_tol=away):
                raise CheckError(
                    f"seed {lane}: a loss of {one['loss']!r} as a lane, {two['loss']!r} alone, "
                    f"after {one['passes']:g} passes; {_why(runs)}"
                )


def _why(runs: Runs) -> str:
    """Why lanes differ from single trials, as far as a watched trial tells, and what to do."""
    _, causes = watched_trial(runs.trial, runs.catalog, LANES, "exact")
    return "; ".join(causes) or "it mixes its lanes: work along axis 0 lane by lane, or state lanes = False"
