"""What every problem is checked for: that it is what it states, loads offline, and can be trained."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from optbench.core.found_out import changing_buffers
from optbench.core.problem import TRACKS, Problem, fresh
from optbench.core.trial import LOWEST_SEEN, Trial
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog
from optbench.testing.hints import describe
from optbench.testing.optimizer_checks import beats_start
from optbench.testing.runs import CheckError

MAX_PASSES = {"adam": 15.0, "pso": 200.0}  # of a trial that must lower the loss; a swarm pays for every candidate
MAX_STEPS = 90  # of such a trial, where the problem has minibatches


def problem_checks(name: str, catalog: Catalog) -> dict[str, Callable[[], None]]:
    """The checks of a problem's spec."""
    problem = catalog.problem(name)
    trainer = "adam" if "grad" in problem.gives else "pso"
    return {
        "states what it is": partial(_states, problem),
        "loads with the network off": partial(_loads_offline, problem),
        "data is the same at every load": partial(_same_data, problem),
        "splits are disjoint": partial(_disjoint, problem),
        "loss is a finite scalar with a gradient": partial(_loss_works, problem),
        "loss leaves its batch as it was": partial(_data_kept, problem),
        "start is what a fresh network has": partial(_start_true, problem),
        "vmaps as declared": partial(_vmaps, problem),
        f"{trainer} lowers the loss": partial(_trains, name, trainer, catalog),
    }


def _states(problem: Problem) -> None:
    if problem.track not in TRACKS:
        raise CheckError(f"track {problem.track!r} is none of {', '.join(TRACKS)}")
    if problem.best.source == LOWEST_SEEN:
        return _positive_budget(problem)
    if problem.best.source not in ("optimum", "bound", "best known"):
        raise CheckError(f"best.source {problem.best.source!r} is none of optimum, bound, best known")
    if not problem.best.value < problem.start:
        raise CheckError(f"best {problem.best.value:g} is not below start {problem.start:g}")
    return _positive_budget(problem)


def _positive_budget(problem: Problem) -> None:
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
        samples = {b"".join(t[i].numpy().tobytes() for t in part) for i in range(len(part[0]))}
        both = samples & seen
        if len(both) > 0.01 * len(samples):  # real data repeats itself now and then
            raise CheckError(
                f"{len(both)} samples are in two splits: drop the doubled rows (`table.unique(dim=0)`), or split by "
                "what they have in common"
            )
        seen |= samples


def _loss_works(problem: Problem) -> None:
    net = fresh(problem, 0)[0]
    loss = problem.loss(net, splits(problem, "cpu").train)
    if loss.ndim != 0:
        raise CheckError(f"loss has shape {tuple(loss.shape)}, it must be a scalar: the mean over the batch")
    if not math.isfinite(loss.item()):
        raise CheckError(f"the loss of a fresh network is {loss.item()}")
    if "grad" in problem.gives:
        if not loss.requires_grad:
            raise CheckError("the loss has no gradient; state gives = frozenset({'value'}) if it only has values")
        gradients = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
        if not all(g is None or bool(g.isfinite().all()) for g in gradients):
            raise CheckError("a gradient of a fresh network is not finite")
        if all(g is None or not bool(g.any()) for g in gradients):
            raise CheckError("every gradient of a fresh network is zero")


def _data_kept(problem: Problem) -> None:
    batch = problem.data().train
    copies = tuple(tensor.clone() for tensor in batch)
    problem.loss(fresh(problem, 0)[0], batch)
    if not all(map(torch.equal, batch, copies)):
        for tensor, copy in zip(batch, copies, strict=True):
            tensor.copy_(copy)
        raise CheckError("loss() changes the data in place, so every evaluation sees other data; work on a copy")


def _start_true(problem: Problem) -> None:
    found = sorted(BatchedModel(problem, (seed,), "cpu").score_start() for seed in range(9))[4]
    if not math.isclose(found, problem.start, rel_tol=0.05, abs_tol=1e-6):
        raise CheckError(f"start is stated as {problem.start:g}, the median of nine fresh networks is {found:g}")


def _vmaps(problem: Problem) -> None:
    if not problem.vmaps or problem.stochastic or changing_buffers(problem):
        return
    model = BatchedModel(problem, (0, 1, 2), "cpu")
    batch = splits(problem, "cpu").train
    points = model.matrix.clone()
    alone = torch.cat([model.losses(point[None], batch) for point in points])
    try:
        together = model.losses(points, batch)
    except Exception as error:  # whatever a network raises under vmap alone: it runs by itself
        raise CheckError(
            f"torch.vmap refuses this network ({describe(error)}); state vmaps = False on the problem, then its "
            "trials run one by one"
        ) from None
    if not torch.allclose(together, alone, rtol=1e-4):
        raise CheckError(f"losses {together.tolist()} under vmap, {alone.tolist()} one by one")


def _trains(name: str, trainer: str, catalog: Catalog) -> None:
    problem = catalog.problem(name)
    passes = min(problem.passes, MAX_PASSES[trainer])
    if trainer == "adam" and problem.batch:  # a step costs up to three passes over its minibatch
        passes = min(passes, 3 * MAX_STEPS * problem.batch / len(splits(problem, "cpu").train[0]))
    beats_start(Trial(name, trainer, (), 0, passes), catalog)
