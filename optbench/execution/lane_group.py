"""One lane group in this process: from trials to their records, whatever the optimizer does."""

from __future__ import annotations

import math
import random
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch

from optbench.core.goal import read_goal
from optbench.core.objective import CertificateError, Inapplicable, Objective, Stop
from optbench.core.outcome import Outcome
from optbench.core.problem import Problem
from optbench.core.scoring import Point
from optbench.core.trial import Trial
from optbench.engine.flops import costs
from optbench.engine.metered import metered
from optbench.execution import machine
from optbench.execution.consistency import inconsistency
from optbench.execution.host import Guest, GuestError, SharingError
from optbench.execution.task import resolve
from optbench.records.schema import Record, clean
from optbench.registry.catalog import Built, Catalog, Optimizer
from optbench.registry.process_state import unchanged_process
from optbench.registry.specs import text_of

UNCAPTURED = "its step ran without a CUDA graph"  # how such a record's note begins
MEASURED = ("spent", "finished", "diverged")  # statuses whose numbers a report uses


class Interrupted(BaseException):
    """An executor ends the trial that this process is running. Not an Exception, so that nothing swallows it."""


def run_group(
    trials: Sequence[Trial],
    catalog: Catalog,
    on_point: Callable[[int, Point], None] | None = None,
    on_start: Callable[[Objective], None] | None = None,
    alone: bool = False,
    eager: bool = False,
    on_end: Callable[[Outcome], None] | None = None,
) -> list[Record]:
    """Train trials as lanes of one program; one record each, in their order.

    They differ in the seed, and in settings where the optimizer allows that (`together`). on_point: called with (lane,
    curve point) as each is measured. on_start: called with the objective before work. alone: nothing else runs on the
    machine, so the clock counts, after a warm-up. eager: nothing is compiled. on_end: called with what came of it.
    Whatever the optimizer raises ends up in the records, except KeyboardInterrupt and Interrupted.
    Raises torch.OutOfMemoryError where several lanes do not fit the device's memory.
    """
    tasks = resolve(trials, catalog)
    first, built, problem = trials[0], tasks[0].built, tasks[0].problem
    if reason := tasks[0].unsupported_reason:
        return [task.record("inapplicable", reason) for task in tasks]
    records = [task.record() for task in tasks]
    optimizer = for_lanes(trials, built, catalog)
    began = perf_counter()
    try:
        cost = costs(problem, batch_size(built, problem), first.device)  # before code of others runs
        f = objective(trials, first.passes, built, problem, on_point, eager)
        if alone:
            guard = unchanged_process() if tasks[0].third_party else nullcontext()
            with guard:  # the trial begins where the warm-up began
                _warm_up(first, built, problem, on_start, eager)
    except torch.OutOfMemoryError:
        if len(records) > 1:
            raise  # whoever runs the group splits it
        return _no_memory(records[0])
    except Exception as error:
        return [_closed(record, "failed", f"the problem: {_reason(error)}") for record in records]
    warmup = perf_counter() - began
    if on_start:
        on_start(f)
    if isinstance(optimizer, Guest):
        optimizer.prepare(f)
    f.start_clock()
    started = perf_counter()
    memory, gpu = machine.PeakMemory(first.device), machine.GpuMeter(first.device if alone else "cpu")
    try:
        status, error_text = train(optimizer, f, first.seed)
    except torch.OutOfMemoryError:
        if len(records) > 1:
            raise  # whoever runs the group splits it
        return _no_memory(records[0])
    utilisation, joules = gpu.stop()
    outcome = f.finish()
    elapsed = perf_counter() - started  # the final scoring included: the clock of the trial stands before it
    if on_end:
        on_end(outcome)
    for lane, record in enumerate(records):
        _fill(record, outcome, lane, status, error_text)
        if _is_counted(built.optimizer, outcome):
            record.own_flops, record.own_seconds = outcome.spent.own_flops[lane], outcome.spent.own_seconds
        elif outcome.charged_own:
            record.note = f"its author states {outcome.spent.own_flops[lane]} FLOPs of own work; nothing checks them"
        if not outcome.charged_own:  # what is not torch's holds its state elsewhere
            record.state_bytes = outcome.spent.state_bytes[lane]
        if record.status in MEASURED and (
            reason := inconsistency(outcome, lane, cost, first.passes, elapsed, built.needs)
        ):
            record.status, record.error, record.certificate = "failed", f"inconsistent: {reason}", None
        if outcome.uncaptured:
            said = f"{UNCAPTURED}: {outcome.uncaptured}"
            record.note = f"{record.note}; {said}" if record.note else said
        record.lanes, record.peak_bytes = len(trials), memory.peak()
        record.warmup_seconds = warmup + outcome.spent.warmup
        record.alone, record.utilisation, record.joules = alone, utilisation, joules
    return records


def _is_counted(optimizer: Optimizer, outcome: Outcome) -> bool:
    """Whether something other than its author's word tells what an optimizer computed.

    A method that gets the data may compute with them in NumPy or C, where nothing is seen. What optbench's own methods
    state is tested against counts by hand; what others state is a claim.
    """
    if optimizer.needs != "exact":
        return True
    return outcome.charged_own and type(optimizer).__module__.startswith("optbench.optimizers.")


def for_lanes(trials: Sequence[Trial], built: Built, catalog: Catalog) -> Optimizer:
    """The optimizer of a lane group; its lanes may have settings of their own where it has a `together`."""
    if len({trial.hyper for trial in trials}) == 1:
        return built.optimizer
    lanes = [catalog.optimizer(trial.optimizer, dict(trial.hyper)).optimizer for trial in trials]
    together: Optimizer = built.optimizer.together(lanes)  # type: ignore[attr-defined]  # the planner has seen to it
    return together


def objective(
    trials: Sequence[Trial],
    passes: float,
    built: Built,
    problem: Problem,
    on_point: Callable[[int, Point], None] | None = None,
    eager: bool = False,
    warms: bool = False,
) -> Objective:
    """The meter of a lane group, whose budget is `passes`. warms: it is a warm-up."""
    return metered(
        problem,
        [trial.seed for trial in trials],
        passes,
        batch=batch_size(built, problem),
        precision=built.precision,
        device=trials[0].device,
        on_point=on_point,
        eager=eager,
        needs=built.needs,
        time=trials[0].seconds,
        goal=read_goal(trials[0].until) if trials[0].until else None,
        warms=warms,
    )


def _warm_up(
    trial: Trial, built: Built, problem: Problem, on_start: Callable[[Objective], None] | None, eager: bool
) -> None:
    """A few steps that do not count: first calls allocate, choose kernels and import."""
    plain = replace(trial, seconds=None, until="")
    f = objective([plain], warm_up_passes(trial, built, problem), built, problem, eager=eager, warms=True)
    if on_start:
        on_start(f)
    train(built.optimizer, f, trial.seed)


def warm_up_passes(trial: Trial, built: Built, problem: Problem) -> float:
    """A budget, in passes, for a few steps of this trial."""
    cost = costs(problem, batch_size(built, problem), trial.device)
    if trial.seconds is not None:
        return 3 * cost.gradient / cost.one_pass
    return min(trial.passes, max(0.02 * trial.passes, 3 * cost.gradient / cost.one_pass))


def _no_memory(record: Record) -> list[Record]:
    """The record of a single trial that the device has no memory for."""
    return [_closed(record, "failed", f"out of memory on {record.device}")]


def batch_size(built: Built, problem: Problem) -> int | None:
    """The minibatch of a trial: the optimizer's setting, else the problem's default; None is the full batch."""
    if built.batch == "full":
        return None
    return int(built.batch) if built.batch is not None else problem.batch


def train(optimizer: Optimizer, f: Objective, seed: int) -> tuple[str, str | None]:
    """Run the optimizer to its end: (status, reason)."""
    with torch.random.fork_rng(), _seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's libraries, a million times over
        try:
            with f.counting_own_work():
                optimizer.minimise(f)
        except Stop:
            return ("spent", None) if f.spent.ended else ("failed", "raised Stop itself, with budget left")
        except Inapplicable as reason:
            return "inapplicable", clean(text_of(reason))
        except CertificateError as error:
            return "failed", f"certificate refused: {clean(text_of(error))}"
        except GuestError as error:
            return "failed", str(error)
        except (KeyboardInterrupt, Interrupted, SharingError, torch.OutOfMemoryError):
            raise
        except BaseException as error:  # SystemExit too: a plugin costs its own trial and no other
            return "failed", _reason(error)
    return "finished", None


class _seeded:
    """Global generators seeded for third-party code that draws from them, and put back afterwards."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __enter__(self) -> None:
        self._states = random.getstate(), np.random.get_state()
        random.seed(self._seed)
        np.random.seed(self._seed)
        torch.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])


def _reason(error: BaseException) -> str:
    """One line: the kind, the text, and the line of code it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {clean(' '.join(text_of(error).split()))[:300]}{place}"


def _closed(record: Record, status: str, reason: str | None) -> Record:
    record.status, record.error = status, reason
    return record


def _fill(record: Record, outcome: Outcome, lane: int, status: str, reason: str | None) -> None:
    spent, diverged = outcome.spent, outcome.diverged[lane]
    record.curve = outcome.curves[lane]
    record.certificate = outcome.certificates[lane]
    record.seconds, record.forward, record.backward = spent.seconds, spent.forward, spent.backward
    record.evaluations, record.flops, record.passes = spent.evaluations, spent.flops, spent.passes
    record.nonfinite = outcome.nonfinite[lane]
    record.status, record.error = status, reason
    if diverged and status in ("spent", "finished"):
        record.status, record.error = (
            "diverged",
            f"the loss was {diverged['loss']} after {diverged['passes']:.4g} passes",
        )
        record.seconds, record.passes = diverged["seconds"], diverged["passes"]
        record.forward, record.backward = int(diverged["forward"]), int(diverged["backward"])
        record.evaluations, record.flops = int(diverged["evaluations"]), int(diverged["units"])
    elif (reached := outcome.reached[lane]) and status in ("spent", "finished"):
        record.status, record.note = "finished", "reached its goal"
        record.seconds, record.passes = reached["seconds"], reached["passes"]
        record.forward, record.backward = int(reached["forward"]), int(reached["backward"])
        record.evaluations, record.flops = int(reached["evaluations"]), int(reached["units"])
    elif status == "inapplicable":
        record.curve = []
    if record.seconds > 0 and math.isfinite(record.seconds):
        record.samples_per_second = record.forward / record.seconds
