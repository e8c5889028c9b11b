"""What every problem is checked for: that it is what it states, loads offline, and can be trained."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from optbench.core.problem import TRACKS, Problem, fresh
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog
from optbench.testing.optimizer_checks import CheckError, beats_start


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
    found = sorted(BatchedModel(problem, (seed,), "cpu").score_start() for seed in range(9))[4]
    if not math.isclose(found, problem.start, rel_tol=0.05, abs_tol=1e-6):
        raise CheckError(f"start is stated as {problem.start:g}, the median of nine fresh networks is {found:g}")


def _vmaps(problem: Problem) -> None:
    if not problem.vmaps or problem.stochastic:
        return
    rows = BatchedModel(problem, (0, 1, 2), "cpu")
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
    beats_start(Trial(name, "adam", (), 0, min(catalog.problem(name).passes, 15.0)), catalog)
