"""Conformance checks for optimizers and problems, shipped for plugin authors; every built-in passes the same ones."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pebble import ProcessPool
from torch import Tensor, nn

from optbench.network import Rows, splits
from optbench.objective import Anatomy, Objective, Stop
from optbench.plugins import Catalog
from optbench.problem import TRACKS, Problem, fresh
from optbench.run import batch_size, run_group
from optbench.specs import parse
from optbench.trial import Record, RequestError, Trial

TIMEOUT = 180.0  # seconds that all checks of one target may take
BUDGET = 120.0  # passes of a checked trial
PROBLEMS = ("sphere", "mlp_iris")  # where an optimizer is checked, unless it says `checked_on = ("problem", ...)`


class Finding(NamedTuple):
    """One check: its name, whether it holds, and what was seen where it does not."""

    name: str
    ok: bool
    detail: str = ""


class CheckError(AssertionError):
    """A check that does not hold; the text says what was seen."""


def check(target: str, files: Iterable[str] = ()) -> list[Finding]:
    """Check an optimizer or a problem by name, or everything in a plugin file, in a process that can be stopped."""
    given = [*files, target] if target.endswith(".py") else list(files)
    catalog = Catalog(given)
    names = _defined_in(catalog, target) if target.endswith(".py") else [target]
    for name in names:
        checks_of(name, catalog)
    findings = []
    with ProcessPool(max_workers=1) as pool:
        for name in names:
            future: Any = pool.schedule(_all, args=[name, tuple(given)], timeout=TIMEOUT)
            try:
                findings += [Finding(f"{name}: {f.name}", f.ok, f.detail) for f in future.result()]
            except concurrent.futures.TimeoutError:
                findings.append(Finding(f"{name}: returns", False, f"the checks took more than {TIMEOUT:g} s"))
            except Exception as error:
                findings.append(Finding(f"{name}: runs", False, f"{type(error).__name__}: {error}"))
    return findings


def checks_of(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """{check: function that raises CheckError}. Raises RequestError for a name that is neither kind."""
    base, _ = parse(name)[0]
    if base in catalog.problems:
        return problem_checks(name, catalog)
    if base in catalog.optimizers:
        return optimizer_checks(name, catalog)
    if ":" not in base:
        raise RequestError(f"{name!r} is neither an optimizer nor a problem; `python -m optbench list` shows them")
    try:
        catalog.problem(name)
    except RequestError:
        return optimizer_checks(name, catalog)
    return problem_checks(name, catalog)


def _defined_in(catalog: Catalog, file: str) -> list[str]:
    start = str(Path(file).resolve())
    tables: list[dict[str, Any]] = [catalog.optimizers, catalog.problems]
    return [name for table in tables for name, entry in table.items() if entry.path.startswith(start)]


def _all(name: str, files: tuple[str, ...]) -> list[Finding]:
    torch.set_num_threads(1)
    findings = []
    for title, run in checks_of(name, Catalog(files)).items():
        try:
            run()
            findings.append(Finding(title, True))
        except CheckError as error:
            findings.append(Finding(title, False, str(error)))
        except Exception as error:
            findings.append(Finding(title, False, f"{type(error).__name__}: {error}"))
    return findings


# Optimizers


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
        found[f"beats its start ({problem})"] = partial(_beats_start, trial, catalog)
        found[f"uses only its declared door ({problem})"] = partial(_keeps_to_door, trial, catalog)
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
    deaf: list[Objective] = []
    run_group([trial], catalog, on_start=deaf.append)
    if deaf[0].refused:
        raise CheckError(f"called the objective {deaf[0].refused} times after Stop: it must let Stop pass")


def _repeats(trial: Trial, catalog: Catalog) -> None:
    first, again = _run(trial, catalog), _run(trial, catalog)
    torch.rand(7)  # a step of the global stream must not matter
    for one, two in zip(first.curve, again.curve, strict=True):
        for key in one:
            if key != "seconds" and one[key] != two[key]:
                raise CheckError(f"{key} is {one[key]!r} once and {two[key]!r} again, after {one['passes']:g} passes")


def _beats_start(trial: Trial, catalog: Catalog) -> None:
    curve = _run(trial, catalog).curve
    if not curve[-1]["loss"] < curve[0]["loss"]:
        raise CheckError(f"ends at a loss of {curve[-1]['loss']:g}, it began at {curve[0]['loss']:g}")


class _Guarded(Objective):
    """An objective whose other doors are locked."""

    def __init__(self, *args: Any, door: str, **kwargs: Any) -> None:
        self._door = door
        super().__init__(*args, **kwargs)

    def _allow(self, call: str, *doors: str) -> None:
        if self._door not in doors:
            raise CheckError(f"declares needs = {self._door!r} but calls {call}")

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._allow("value_and_grad", "grad", "exact")
        return super().value_and_grad(x)

    def parameters(self, rows: slice = slice(None)) -> list[nn.Parameter]:
        self._allow("parameters", "grad", "exact")
        return super().parameters(rows)

    def closure(self) -> Tensor:
        self._allow("closure", "grad", "exact")
        return super().closure()

    def anatomy(self) -> Anatomy:
        self._allow("anatomy", "exact")
        return super().anatomy()


def _keeps_to_door(trial: Trial, catalog: Catalog) -> None:
    problem = catalog.problem(trial.problem)
    built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
    f = _Guarded(problem, [0], 30.0, batch=batch_size(built, problem), door=built.needs)
    with contextlib.suppress(Stop):
        built.optimizer.minimise(f)
    if not f.evaluations and not f.forward:
        raise CheckError("trained without calling the objective once")


def _lanes_equal_serial(trial: Trial, catalog: Catalog) -> None:
    trials = [replace(trial, seed=seed) for seed in range(3)]
    together = run_group(trials, catalog)
    tolerance = 1e-3 if catalog.problem(trial.problem).dtype == torch.float32 else 1e-9
    for lane, single in enumerate(trials):
        alone = _run(single, catalog)
        if len(alone.curve) != len(together[lane].curve):
            raise CheckError(f"seed {lane}: {len(together[lane].curve)} points as a lane, {len(alone.curve)} alone")
        for one, two in zip(together[lane].curve, alone.curve, strict=True):
            if not math.isclose(one["loss"], two["loss"], rel_tol=tolerance, abs_tol=tolerance * 1e-3):
                raise CheckError(
                    f"seed {lane}: a loss of {one['loss']!r} as a lane, {two['loss']!r} alone, "
                    f"after {one['passes']:g} passes; set `lanes = False` if it mixes its lanes"
                )


# Problems


def problem_checks(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """The checks of a problem's spec."""
    problem = catalog.problem(name)
    return {
        "states what it is": partial(_states, problem),
        "loads with the network off": partial(_loads_offline, problem),
        "data is the same at every load": partial(_same_data, problem),
        "splits are disjoint": partial(_disjoint, problem),
        "loss is a finite scalar with a gradient": partial(_loss_works, problem),
        "start is what a fresh network has": partial(_start_true, problem),
        "vmaps as declared": partial(_vmaps, problem),
        "Adam lowers the loss": partial(_trains, name, catalog),
    }


def _states(problem: Problem) -> None:
    if problem.track not in TRACKS:
        raise CheckError(f"track {problem.track!r} is none of {', '.join(TRACKS)}")
    if problem.best.source not in ("optimum", "bound", "best known"):
        raise CheckError(f"best.source {problem.best.source!r} is none of optimum, bound, best known")
    if not problem.best.value < problem.start:
        raise CheckError(f"best {problem.best.value:g} is not below start {problem.start:g}")
    if not problem.passes > 0:
        raise CheckError(f"passes {problem.passes:g} is no budget")


def _loads_offline(problem: Problem) -> None:
    def blocked(*_: Any, **__: Any) -> None:
        raise CheckError("opened a socket; ship the data with the problem")

    real = socket.socket
    socket.socket = blocked  # type: ignore[assignment,misc]  # the point of this check
    try:
        problem.data()
        problem.network()
    finally:
        socket.socket = real  # type: ignore[misc]


def _same_data(problem: Problem) -> None:
    for one, two in zip(problem.data(), problem.data(), strict=True):
        if (one is None) != (two is None) or (one and two and not all(map(torch.equal, one, two))):
            raise CheckError("two calls of data() differ; draw from a generator with a fixed seed")


def _disjoint(problem: Problem) -> None:
    data = problem.data()
    if data.train[0].numel() == 0 or problem.track == "reinforcement":
        return  # a function has no samples, an environment only draws
    seen: set[bytes] = set()
    for part in data:
        if part is None:
            continue
        if len({len(tensor) for tensor in part}) != 1:
            raise CheckError(f"tensors of one split have lengths {[len(tensor) for tensor in part]}")
        rows = {b"".join(t[i].numpy().tobytes() for t in part) for i in range(len(part[0]))}
        both = rows & seen
        if len(both) > 0.01 * len(rows):  # real data repeats itself now and then
            raise CheckError(f"{len(both)} samples are in two splits")
        seen |= rows


def _loss_works(problem: Problem) -> None:
    net = fresh(problem, 0)[0]
    loss = problem.loss(net, splits(problem, "cpu").train)
    if loss.ndim != 0:
        raise CheckError(f"loss has shape {tuple(loss.shape)}, it must be a scalar: the mean over the batch")
    if not math.isfinite(loss.item()):
        raise CheckError(f"the loss of a fresh network is {loss.item()}")
    if "grad" in problem.gives:
        gradients = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
        if not all(g is None or bool(g.isfinite().all()) for g in gradients):
            raise CheckError("a gradient of a fresh network is not finite")
        if all(g is None or not bool(g.any()) for g in gradients):
            raise CheckError("every gradient of a fresh network is zero")


def _start_true(problem: Problem) -> None:
    found = sorted(Rows(problem, (seed,), "cpu").score_start() for seed in range(9))[4]
    if not math.isclose(found, problem.start, rel_tol=0.05, abs_tol=1e-6):
        raise CheckError(f"start is stated as {problem.start:g}, the median of nine fresh networks is {found:g}")


def _vmaps(problem: Problem) -> None:
    if not problem.vmaps or problem.stochastic:
        return
    rows = Rows(problem, (0, 1, 2), "cpu")
    batch = splits(problem, "cpu").train
    try:
        together = rows.losses(rows.matrix.clone(), batch)
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise CheckError(f"torch.vmap refuses this network ({reason}); state vmaps = False") from None
    alone = torch.cat([rows.losses(row[None], batch) for row in rows.matrix.clone()])
    if not torch.allclose(together, alone, rtol=1e-4):
        raise CheckError(f"losses {together.tolist()} under vmap, {alone.tolist()} one by one")


def _trains(name: str, catalog: Catalog) -> None:
    _beats_start(Trial(name, "adam", (), 0, min(catalog.problem(name).passes, 15.0)), catalog)
