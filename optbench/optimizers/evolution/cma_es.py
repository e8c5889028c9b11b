"""CMA-ES and sep-CMA-ES, wrapped from the package cma (Hansen; Ros & Hansen 2008 for the diagonal one)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_package, check_positive

MAX_BYTES = 1 << 30  # of the covariance and its decomposition: three D x D matrices


@dataclass(frozen=True)
class CMAES:
    """cma.CMAEvolutionStrategy; the mean of its distribution is the answer."""

    sigma: float = 0.5  # first step, times the spread of initial networks
    population: int = 0  # candidates a generation; 0 is the package's 4 + 3 ln D
    diagonal: bool = False  # sep-CMA-ES: variances only, linear in D

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_package("cma_es", "cma")
        check_positive("sigma", self.sigma)
        check_count("population", self.population, 0)
        check(self.population != 1, "population", self.population, "0 (the package's choice) or at least 2")
        check(isinstance(self.diagonal, bool), "diagonal", self.diagonal, "true or false")

    def minimise(self, f: Objective) -> None:
        if not self.diagonal and (size := 3 * 8 * f.dim**2) > MAX_BYTES:
            raise Inapplicable(
                f"covariance matrices in D = {f.dim} take {size / 2**30:.1f} GiB, {MAX_BYTES / 2**30:.0f} at most: "
                "use diagonal=True (sep_cma_es)"
            )
        cma = import_module("cma")
        options: dict[str, Any] = {"seed": math.nan, "verbose": -9, "CMA_diagonal": self.diagonal, "maxiter": math.inf}
        options |= {"popsize": self.population} if self.population else {}
        loss = arrays.values(f)
        with arrays.global_state(arrays.seed(f)):  # the package draws from NumPy's global generator
            search = cma.CMAEvolutionStrategy(arrays.start(f), self.sigma * arrays.spread(f), options)
            while not search.stop():
                x = search.ask()
                search.tell(x, loss(arrays.stack(x)))
                mean = torch.as_tensor(search.mean, dtype=f.dtype, device=f.device)
                f.recommend(mean[None])
