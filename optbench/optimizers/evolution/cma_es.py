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
    """cma.CMAEvolutionStrategy; the mean of its distribution is the answer.

    A search that stops, converged or stuck, is followed by another from a fresh network with twice the population
    (IPOP, Auger & Hansen 2005). The diagonal one learns no correlations: turned coordinates make it slower.
    """

    sigma: float = 0.5  # first step, times the spread of initial networks
    population: int = 0  # candidates a generation of the first search; 0 is 4 + 3 ln D
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
        population = self.population or 4 + int(3 * math.log(f.dim))  # as the package chooses it
        lowest = math.inf  # of any generation of the searches before this one
        with arrays.global_state(arrays.seed(f)):  # the package draws from NumPy's global generator
            while True:
                start, sigma = arrays.start(f), self.sigma * arrays.spread(f)
                search = cma.CMAEvolutionStrategy(start, sigma, options | {"popsize": population})
                lowest = min(lowest, self._searched(f, search, lowest))
                population *= 2

    def _searched(self, f: Objective, search: Any, lowest: float) -> float:
        """Run a search until it says that it has converged or is stuck; the lowest loss of its generations.

        Its mean is the answer from where it comes below `lowest`, what the searches before it reached.
        """
        loss = arrays.values(f)
        found, decompositions = math.inf, 0
        while not search.stop():
            x = search.ask()
            losses = loss(arrays.stack(x))
            search.tell(x, losses)
            found = min(found, float(losses.min()))
            if found < lowest or lowest == math.inf:
                f.recommend(torch.as_tensor(search.mean, dtype=f.dtype, device=f.device)[None])
            done = 0 if self.diagonal else search.sm.count_eigen
            if done < decompositions:  # the package has changed coordinates, and counts from none again
                decompositions = 0
            f.charge_own(generation_work(f.dim, len(x), done - decompositions, self.diagonal))
            decompositions = done
        return found


def generation_work(dim: int, candidates: int, decompositions: int, diagonal: bool) -> int:
    """FLOPs of one generation: draws, the mean, both evolution paths, the covariance and its decompositions.

    With D parameters and P candidates: 2 P D^2 to turn normal draws, 2 P D^2 for the rank-mu and 2 D^2 for the rank-one
    update, 4 D^2 for the path of the step size, 9 D^3 a decomposition, 2 P D for the mean. A diagonal covariance has
    D where a full one has D^2, and none to decompose.
    """
    entries = dim if diagonal else dim**2
    return 4 * candidates * entries + 6 * entries + 2 * candidates * dim + 9 * dim**3 * decompositions
