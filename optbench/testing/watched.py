"""An optimizer under watch: which oracles it asks, what it draws from, in which number type, and what it changes."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.core.objective import Objective, OracleError, Stop
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.engine.metered import metered_as
from optbench.execution.lane_group import batch_size
from optbench.registry.catalog import Catalog
from optbench.testing.runs import CheckError

PASSES = 30.0  # budget of a watched trial


class Watched(Objective):
    """An objective that answers only the oracle that the optimizer declares, and notes the types of points."""

    def value(self, x: Tensor) -> Tensor:
        self._note(x)
        return super().value(x)

    def value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self._note(x)
        return super().value_and_grad(x)

    def _allow(self, call: str, *oracles: str) -> None:
        try:
            super()._allow(call, *oracles)
        except OracleError as error:
            raise CheckError(str(error)) from None

    def _note(self, x: Tensor) -> None:
        if isinstance(x, Tensor) and x.dtype != self.dtype:
            self.other_type = x.dtype

    other_type: torch.dtype | None = None  # of points, where it is not the problem's


def watched_trial(trial: Trial, catalog: Catalog, lanes: int, needs: str) -> tuple[Watched, list[str]]:
    """Train for a short while: the objective, and why such a trial may depend on what else runs, a phrase each.

    needs: the oracle that is answered. Raises CheckError where another one is asked.
    """
    problem = catalog.problem(trial.problem)
    built = catalog.optimizer(trial.optimizer, dict(trial.hyper))
    f = metered_as(Watched, problem, range(lanes), PASSES, batch=batch_size(built, problem), needs=needs)
    data = [tensor for part in splits(problem, "cpu") if part for tensor in part]
    copies = [tensor.clone() for tensor in data]
    with torch.random.fork_rng(devices=[]):
        before = _generators()
        with contextlib.suppress(Stop):
            built.optimizer.minimise(f)
        after = _generators()
    used = [name for name in before if before[name] != after[name]]
    causes = [
        f"it draws from {name}; draw from f.rand(...) and f.randn(...), where every lane has numbers of its own"
        for name in used
    ]
    if f.other_type:
        causes.append(f"its points are {f.other_type}, the problem is {f.dtype}; make tensors with dtype=f.dtype")
    if not all(map(torch.equal, data, copies)):
        causes.append("it changes the problem's data in place; work on a copy")
        for tensor, copy in zip(data, copies, strict=True):
            tensor.copy_(copy)
    return f, causes


def _generators() -> dict[str, Any]:
    """Where the global generators of this process are."""
    kind, keys, *place = np.random.get_state(legacy=True)
    return {
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's global generator (np.random)": (kind, np.asarray(keys).tobytes(), *place),
        "Python's global generator (random)": random.getstate(),
    }
