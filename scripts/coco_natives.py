"""pycma, scipy and pyswarms on COCO's suite bbob, in the loop of COCO's own example; nothing of optbench runs.

    python scripts/coco_natives.py exdata --solvers pycma,scipy_nelder_mead --dimensions 2,5 --instances 1-5

Every solver runs as its package has it, begins at a uniform draw from the box (as the optimizers of optbench do), and
begins again until 1,000 x dimension evaluations are spent or COCO's last target is hit. Each gets a folder of its own.
"""

from __future__ import annotations

import argparse
import logging.config
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any


class Enough(BaseException):
    """The budget is spent, or the last target hit."""


class Limited:
    """A function of COCO that raises Enough at the end of its budget."""

    def __init__(self, problem: Any, budget: int) -> None:
        self.problem, self.budget = problem, budget

    def __call__(self, x: Any) -> float:
        if self.problem.evaluations >= self.budget or self.problem.final_target_hit:
            raise Enough
        return float(self.problem(x))

    @property
    def left(self) -> int:
        return int(self.budget - self.problem.evaluations)


def pycma(f: Limited, start: Callable[[], Any], seed: int, diagonal: bool = False) -> None:
    """cma.fmin2 with sigma 2, as in COCO's example, restarted with twice the population (IPOP)."""
    import cma

    options = {"verbose": -9, "seed": seed + 1, "maxfevals": f.left, "bounds": None, "CMA_diagonal": diagonal}
    cma.fmin2(f, lambda: start(), 2, options, restarts=9)


def pycma_diagonal(f: Limited, start: Callable[[], Any], seed: int) -> None:
    """The same with a diagonal covariance matrix: sep-CMA-ES."""
    pycma(f, start, seed, diagonal=True)


def scipy_nelder_mead(f: Limited, start: Callable[[], Any], seed: int) -> None:
    """scipy.optimize.fmin, the solver of COCO's simple example."""
    from scipy.optimize import fmin

    fmin(f, start(), maxiter=10**9, maxfun=10**9, disp=False)


def scipy_lbfgsb(f: Limited, start: Callable[[], Any], seed: int) -> None:
    """scipy.optimize.fmin_l_bfgs_b with its own forward differences."""
    from scipy.optimize import fmin_l_bfgs_b

    fmin_l_bfgs_b(f, start(), approx_grad=True, maxiter=10**9, maxfun=10**9)


def scipy_de(f: Limited, start: Callable[[], Any], seed: int) -> None:
    """scipy.optimize.differential_evolution in the box, all settings its own."""
    from scipy.optimize import differential_evolution

    box = list(zip(f.problem.lower_bounds, f.problem.upper_bounds, strict=True))
    differential_evolution(f, box, rng=seed, maxiter=10**9)


def pyswarms_global(f: Limited, start: Callable[[], Any], seed: int) -> None:
    """pyswarms' GlobalBestPSO with 30 particles and the constriction coefficients, without bounds."""
    import numpy as np

    real, logging.config.dictConfig = logging.config.dictConfig, lambda _: None  # type: ignore[assignment]
    try:
        from pyswarms.single import GlobalBestPSO

        weights = {"c1": 1.49618, "c2": 1.49618, "w": 0.72984}
        swarm = GlobalBestPSO(30, f.problem.dimension, weights, init_pos=np.stack([start() for _ in range(30)]))
        swarm.optimize(lambda x: np.array([f(point) for point in x]), iters=10**6, verbose=False)
    finally:
        logging.config.dictConfig = real


SOLVERS: dict[str, Callable[[Limited, Callable[[], Any], int], None]] = {
    solver.__name__: solver
    for solver in (pycma, pycma_diagonal, scipy_nelder_mead, scipy_lbfgsb, scipy_de, pyswarms_global)
}


def run(name: str, folder: Path, functions: str, dimensions: str, instances: str, multiplier: float) -> float:
    """Run one solver; evaluations a second."""
    import warnings

    import cocoex
    import numpy as np

    cocoex.log_level("warning")
    suite = cocoex.Suite("bbob", f"instances: {instances}", f"dimensions: {dimensions} function_indices: {functions}")
    observer = cocoex.Observer(
        "bbob", f'algorithm_name: {name} result_folder: "{name}" outer_folder: "{folder.resolve().as_posix()}"'
    )
    evaluations, began = 0, time.perf_counter()
    for problem in suite:
        k = (problem.id_function * 100 + problem.dimension) * 100 + problem.id_instance  # whatever runs beside it
        problem.observe_with(observer)
        problem(problem.dimension * [0])  # for better comparability
        rng = np.random.default_rng(k)
        np.random.seed(k)
        f = Limited(problem, round(multiplier * problem.dimension))
        start, restart = partial(rng.uniform, problem.lower_bounds, problem.upper_bounds), 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                while f.left > 0 and not problem.final_target_hit:
                    if restart:
                        observer.signal_restart(problem)
                    SOLVERS[name](f, start, 1000 * k + restart)
                    restart += 1
            except Enough:
                pass
        evaluations += problem.evaluations
        problem.free()
    return evaluations / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder a solver goes there")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help=f"of {', '.join(SOLVERS)}")
    parser.add_argument("--functions", default="1-24", help="as COCO writes them")
    parser.add_argument("--dimensions", default="2,5,10,20")
    parser.add_argument("--instances", default="1-15")
    parser.add_argument("--budget", type=float, default=1000.0, help="evaluations times the dimension")
    options = parser.parse_args()
    for name in options.solvers.split(","):
        if (options.out / name).exists():
            parser.error(f"{options.out / name} exists; remove it or write into another folder")
        speed = run(name, options.out, options.functions, options.dimensions, options.instances, options.budget)
        print(f"{name}: {speed:,.0f} evaluations a second: {options.out / name}", flush=True)


if __name__ == "__main__":
    main()
