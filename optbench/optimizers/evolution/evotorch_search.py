"""evotorch's searches by a distribution (Toklu et al. 2023): SNES, xNES, PGPE with ClipUp, cross-entropy method."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from torch import Tensor

from optbench.core.objective import Inapplicable, Objective
from optbench.optimizers import arrays
from optbench.optimizers.checks import check, check_count, check_package, check_positive

MAX_DIM = 1_000  # dimensions up to which xNES takes the exponential of a D x D matrix in every step


@dataclass(frozen=True)
class _Search:
    population: int = 40  # candidates a generation
    spread: float = 0.5  # first standard deviation, times the spread of initial networks

    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = False
    full_batch: ClassVar[bool] = False
    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_package(self.name.lower(), "evotorch")
        check_count("population", self.population, 2)
        check_positive("spread", self.spread)

    def _settings(self, stdev: float) -> dict[str, Any]:
        """What the library's class is built with, beside the problem, the centre and the population."""
        return {"stdev_init": stdev}

    def minimise(self, f: Objective) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its import uses torch.jit.script
            core, algorithms = import_module("evotorch"), import_module("evotorch.algorithms")
        logging.getLogger("evotorch").setLevel(logging.ERROR)  # it announces every problem that is made

        def losses(x: Tensor) -> Tensor:
            return f.value(x[None])[0]

        problem = core.Problem(
            "min",
            losses,
            vectorized=True,
            solution_length=f.dim,
            initial_bounds=(-1, 1),  # asked for, unused: the centre is given
            dtype=f.dtype,
            device=f.device,
            seed=arrays.seed(f),
        )
        centre = f.start()[0]
        settings = self._settings(self.spread * arrays.spread(f))
        search = getattr(algorithms, self.name)(problem, popsize=self.population, center_init=centre, **settings)
        while True:
            search.step()
            f.recommend(search.status["center"][None].to(f.dtype))


@dataclass(frozen=True)
class SNES(_Search):
    """Separable natural evolution strategy (Schaul, Glasmachers & Schmidhuber 2011)."""

    name = "SNES"


@dataclass(frozen=True)
class XNES(_Search):
    """Exponential natural evolution strategy (Glasmachers et al. 2010): a full covariance."""

    name = "XNES"

    def minimise(self, f: Objective) -> None:
        if f.dim > MAX_DIM:
            raise Inapplicable(
                f"the exponential of a {f.dim} x {f.dim} covariance in every step, up to D = {MAX_DIM} here: use snes"
            )
        super().minimise(f)


@dataclass(frozen=True)
class PGPE(_Search):
    """Policy gradients with parameter-based exploration (Sehnke et al. 2010), steps by ClipUp (Toklu et al. 2020)."""

    max_speed: float = 0.3  # of ClipUp, times the radius of the first distribution; its step is half of that
    name = "PGPE"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.population % 2 == 0, "population", self.population, "an even number: perturbations come in pairs")
        check_positive("max_speed", self.max_speed)

    def _settings(self, stdev: float) -> dict[str, Any]:
        radius = 15 * stdev  # the heuristic of the ClipUp paper, section 4: speed and step from the search radius
        speed = self.max_speed * radius / 15
        return {
            "stdev_init": stdev,
            "center_learning_rate": speed / 2,
            "stdev_learning_rate": 0.1,
            "optimizer": "clipup",
            "optimizer_config": {"max_speed": speed},
            "ranking_method": "centered",
        }


@dataclass(frozen=True)
class CEM(_Search):
    """The cross-entropy method (Rubinstein 1999): the distribution of the best share of every generation."""

    elite: float = 0.25  # that share
    name = "CEM"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.elite <= 1, "elite", self.elite, "above 0 and at most 1")

    def _settings(self, stdev: float) -> dict[str, Any]:
        return {"stdev_init": stdev, "parenthood_ratio": self.elite}
