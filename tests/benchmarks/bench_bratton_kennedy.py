"""The canonical swarm on the functions of Bratton & Kennedy (2007): 30 dimensions, 50 particles, 300,000 evaluations.

    python -m pytest tests/benchmarks/bench_bratton_kennedy.py --benchmark-only

Slow (about a minute), so it is no part of the tests; a tenth of it is in tests/test_swarms.py. The ranges span what the
paper is remembered to report and what an independent prototype measured, with room for ten seeds.
"""

from __future__ import annotations

from typing import Any

import pytest

from optbench.core.objective import Stop
from optbench.engine.metered import metered
from optbench.optimizers.swarm.particle_swarm import ParticleSwarm
from optbench.problems.functions import Ackley, Function, Griewank, Rastrigin, Rosenbrock

SEEDS = tuple(range(10))

# function, box of the start (away from the optimum, as in the paper), mean final loss of the star and of the ring
CASES: dict[str, tuple[type[Function], tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "rosenbrock": (Rosenbrock, (15, 30), (0.1, 40), (3, 60)),
    "rastrigin": (Rastrigin, (2.56, 5.12), (100, 240), (100, 240)),
    "ackley": (Ackley, (16, 32), (8, 20.5), (8, 20.5)),
    "griewank": (Griewank, (300, 600), (0, 0.15), (0, 0.02)),
}


@pytest.mark.benchmark(group="300,000 evaluations of ten swarms at once")
@pytest.mark.parametrize("topology", ["star", "ring"])
@pytest.mark.parametrize("function", CASES)
def test_bratton_and_kennedy(function: str, topology: str, benchmark: Any) -> None:
    kind, box, star, ring = CASES[function]
    problem = type("Far", (kind,), {"box": box})(dim=30)
    f = metered(problem, SEEDS, 300_000)

    def go() -> None:
        try:
            ParticleSwarm(swarm=50, topology=topology).minimise(f)
        except Stop:
            f.finish()

    benchmark.pedantic(go, rounds=1)
    mean = sum(curve[-1]["loss"] for curve in f.finish().curves) / len(SEEDS)
    benchmark.extra_info["mean final loss"] = mean
    print(f"{function} {topology}: {mean:.4g}")
    least, most = star if topology == "star" else ring
    assert least <= mean <= most
