"""Candidates a second: ours against loops, vmap, pyswarms, evotorch and JAX, all sides on the same work.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/bench_population.py --benchmark-only -s

The sides take turns, round by round, so that a machine that others use too slows all of them alike; wall and processor
time are printed, minimum and median. One thread a side: JAX is held to one by XLA_FLAGS below. A peer that is not
installed is left out: pip install evotorch evosax "jax[cpu]".
"""

from __future__ import annotations

import logging
import logging.config
import math
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from optbench.core.objective import Objective, Stop
from optbench.core.problem import Batch, Best, Net, Problem, Splits
from optbench.engine.blocks import block_size
from optbench.engine.metered import metered, metered_as
from optbench.engine.population import MIN_BLOCKS
from optbench.optimizers.swarm.particle_swarm import ParticleSwarm
from optbench.problems.mlp_digits import MlpDigits

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")

CANDIDATES = 128


class AllDigits(MlpDigits):
    """The MLP 64-32-10 (D = 2,410) on all 1,797 samples."""

    def data(self) -> Splits:
        table = load_digits()
        return Splits((torch.as_tensor(table.data / 16, dtype=torch.float32), torch.as_tensor(table.target)))


def setting() -> tuple[Objective, Tensor, Batch, nn.Module]:
    torch.set_num_threads(1)
    problem = AllDigits()
    f = metered(problem, [0], 10**9)
    return f, f.start(CANDIDATES), problem.data().train, problem.network()


def single(net: nn.Module, batch: Batch) -> Callable[[Tensor], Tensor]:
    """(D,) -> the loss, as anyone would write it."""
    shapes = {name: p.shape for name, p in net.named_parameters()}

    def loss(row: Tensor) -> Tensor:
        parts = row.split([shape.numel() for shape in shapes.values()])
        tensors = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return F.cross_entropy(functional_call(net, tensors, batch[:1]), batch[1])

    return loss


def ours() -> Callable[[], Any]:
    f, x, _, _ = setting()
    return lambda: f.value(x)[0]


def loop() -> Callable[[], Any]:
    _, x, batch, net = setting()
    loss = single(net, batch)
    return torch.no_grad()(lambda: torch.stack([loss(row) for row in x[0]]))


def plain_vmap() -> Callable[[], Any]:
    _, x, batch, net = setting()
    return torch.no_grad()(lambda: vmap(single(net, batch))(x[0]))


def pyswarms() -> Callable[[], Any]:
    with patch.object(logging.config, "dictConfig", lambda _: None):  # its import writes a file where it stands
        operators, backend = pytest.importorskip("pyswarms.backend.operators"), pytest.importorskip("pyswarms.backend")
    _, x, batch, net = setting()
    loss = single(net, batch)
    swarm = backend.Swarm(position=x[0].numpy(), velocity=np.zeros_like(x[0].numpy()))

    def losses(points: Any) -> Any:
        return np.array([float(loss(row)) for row in torch.as_tensor(points)])

    return torch.no_grad()(lambda: operators.compute_objective_function(swarm, losses))


def evotorch() -> Callable[[], Any]:
    core, tools = pytest.importorskip("evotorch"), pytest.importorskip("evotorch.neuroevolution")
    logging.getLogger("evotorch").setLevel(logging.ERROR)
    _, x, batch, net = setting()
    data = torch.utils.data.TensorDataset(*batch)
    size = len(data)
    problem = tools.SupervisedNE(data, net, nn.CrossEntropyLoss(), minibatch_size=size, common_minibatch=True)
    population = core.SolutionBatch(problem, CANDIDATES)

    def evaluate() -> Any:
        population.set_values(x[0])  # forgets the evaluations
        problem.evaluate(population)
        return population.evals[:, 0]

    return evaluate


def jax() -> Callable[[], Any]:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    _, x, batch, net = setting()
    inputs, targets, points = (jnp.array(t.numpy()) for t in (*batch, x[0]))
    ends = np.cumsum([p.numel() for p in net.parameters()])[:-1]

    def loss(row: Any) -> Any:
        w1, b1, w2, b2 = jnp.split(row, ends)
        hidden = jax.nn.relu(inputs @ w1.reshape(32, 64).T + b1)
        scores = jax.nn.log_softmax(hidden @ w2.reshape(10, 32).T + b2)
        return -jnp.take_along_axis(scores, targets[:, None], 1).mean()

    losses = jax.jit(lambda points: jax.lax.map(loss, points, batch_size=8))
    return lambda: losses(points).block_until_ready()


SIDES = {"ours": ours, "loop": loop, "vmap": plain_vmap, "pyswarms": pyswarms, "evotorch": evotorch, "jax": jax}


Took = tuple[float, float]  # wall and processor time, seconds


def clock() -> Took:
    return perf_counter(), process_time()


def timed(side: Callable[[], Any]) -> Callable[[], Took]:
    def run() -> Took:
        start = clock()
        side()
        return since(start)

    return run


def since(start: Took) -> Took:
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def take_turns(sides: dict[str, Callable[[], Took]], rounds: int, benchmark: Any) -> dict[str, list[float]]:
    """Run every side once a round. Prints and returns wall minimum and median, CPU minimum and median, in ms."""
    took: dict[str, list[Took]] = {name: [] for name in sides}

    def once() -> None:
        for name, side in sides.items():
            took[name].append(side())

    benchmark.pedantic(once, rounds=rounds)
    found = {
        n: [1e3 * f(column) for column in zip(*rows, strict=True) for f in (min, median)] for n, rows in took.items()
    }
    print(f"\n{'milliseconds':32} {'wall min':>9} {'median':>9} {'CPU min':>9} {'median':>9}")
    for name, row in sorted(found.items(), key=lambda item: item[1][2]):
        print(f"{name:32} " + " ".join(f"{value:9.1f}" for value in row))
    benchmark.extra_info.update(found)
    return found


def ready(makers: dict[str, Callable[[], Callable[[], Any]]]) -> dict[str, Callable[[], Any]]:
    """The sides whose packages are here."""
    sides = {}
    for name, make in makers.items():
        try:
            sides[name] = make()
        except pytest.skip.Exception:
            print(f"{name} is not installed")
    return sides


@pytest.mark.benchmark(group="128 candidates on all digits, D = 2,410")
def test_candidates_a_second(benchmark: Any) -> None:
    sides = ready(SIDES)
    _, x, batch, net = setting()
    with torch.no_grad():
        plain = torch.stack([single(net, batch)(row) for row in x[0, :4]]).numpy()
    for _ in range(12):  # ours is traced after some 200 blocks
        sides["ours"]()
    for side in sides.values():
        side()
        np.testing.assert_allclose(np.array(side())[:4].reshape(-1), plain, rtol=1e-4)
    found = take_turns({name: timed(side) for name, side in sides.items()}, 30, benchmark)
    benchmark.extra_info["candidates a second"] = round(1e3 * CANDIDATES / found["ours"][0])


class Point(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.randn(dim))

    def forward(self) -> Tensor:
        return self.x


@dataclass(frozen=True)
class Bowl(Problem):
    """The sphere in float32: an evaluation costs next to nothing, so a step is what the swarm itself costs."""

    dim: int

    track = "function"
    loss_name = "sphere"
    start = 1.0
    best = Best(0.0, "optimum")

    def network(self) -> nn.Module:
        return Point(self.dim)

    def data(self) -> Splits:
        return Splits((torch.zeros(1, 0),))

    def loss(self, net: Net, batch: Batch) -> Tensor:
        return net().square().sum()


STEPS = 10


class Marked(Objective):
    """Notes when it is asked: a step of a swarm is what lies between two calls."""

    def value(self, x: Tensor) -> Tensor:
        self.marks = [*getattr(self, "marks", []), clock()]
        return super().value(x)


def our_swarm(dim: int) -> Callable[[], Took]:
    """STEPS steps, once their evaluations are traced, as the other sides are compiled."""
    torch.set_num_threads(1)
    warm = 1 + math.ceil(MIN_BLOCKS / math.ceil(CANDIDATES / block_size(CANDIDATES, dim)))

    def go() -> Took:
        f = metered_as(Marked, Bowl(dim), [0], CANDIDATES * (warm + STEPS + 1))
        with suppress(Stop):
            ParticleSwarm(swarm=CANDIDATES).minimise(f)
        first, last = f.marks[warm], f.marks[warm + STEPS]
        return last[0] - first[0], last[1] - first[1]

    return go


def their_swarm(dim: int, independent: bool) -> Callable[[], Took]:
    """evosax's; as it stands it shares its random numbers over dimensions, with `independent` it draws as ours does."""
    jax, evosax = pytest.importorskip("jax"), pytest.importorskip("evosax.algorithms")
    jnp = jax.numpy

    class Independent(evosax.PSO):  # type: ignore[misc,name-defined]
        def _ask(self, key: Any, state: Any, params: Any) -> Any:
            own, lead = jax.random.uniform(key, (2, *state.population.shape))
            leader = state.population_best[jnp.argmin(state.fitness_best)]
            velocity = (
                params.inertia_coeff * state.velocity
                + params.cognitive_coeff * own * (state.population_best - state.population)
                + params.social_coeff * lead * (leader - state.population)
            )
            return state.population + velocity, state.replace(velocity=velocity)

    start = jax.random.normal(jax.random.key(0), (CANDIDATES, dim))
    swarm = (Independent if independent else evosax.PSO)(population_size=CANDIDATES, solution=start[0])
    params = swarm.default_params
    state = swarm.init(jax.random.key(1), start, jnp.square(start).sum(1), params)

    @jax.jit
    def step(key: Any, state: Any) -> Any:
        points, state = swarm.ask(key, state, params)
        return swarm.tell(key, points, jnp.square(points).sum(1), state, params)[0]

    def go() -> Any:
        now = state
        for number in range(STEPS):
            now = step(jax.random.key(number), now)
        return jax.block_until_ready(now)

    go()
    return timed(go)


@pytest.mark.parametrize("dim", [2_410, 100_000])
def test_a_whole_step_of_a_swarm(dim: int, benchmark: Any) -> None:
    benchmark.group = f"{STEPS} steps of 128 particles, D = {dim:,}"
    sides = ready(
        {
            "ours": lambda: our_swarm(dim),
            "evosax, shared numbers": lambda: their_swarm(dim, independent=False),
            "evosax, independent numbers": lambda: their_swarm(dim, independent=True),
        }
    )
    take_turns(sides, 5, benchmark)


LARGE = """
import re, sys
from contextlib import suppress
from optbench.core.objective import Objective, Stop
from optbench.engine.metered import metered, metered_as
from optbench.optimizers.swarm.particle_swarm import ParticleSwarm
from optbench.problems.teacher import Teacher
swarm, problem = int(sys.argv[1]), Teacher(features=60, hidden=int(sys.argv[2]), depth=2)
def peak():  # of this process; ru_maxrss would be that of the process it was forked from
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
f = metered(problem, [0], 3 * swarm)
before = peak()
with suppress(Stop):
    ParticleSwarm(swarm=swarm).minimise(f)
above = peak() - before - 3 * 4 * swarm * f.dim
print(f.dim, above)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
@pytest.mark.benchmark(group="memory of a swarm of 1,000 with 96,041 parameters each")
def test_memory_of_a_large_swarm(benchmark: Any) -> None:
    """Above positions, velocities and best positions, at the worst moment, in a process of its own."""
    command = [sys.executable, "-c", LARGE, "1000", "280"]
    text = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1
    ).stdout
    dim, above = map(int, text.split())
    print(f"\n{above / 2**30:.2f} GiB above the state of {12_000 * dim / 2**30:.2f} GiB")
    assert dim == 96_041 and above < 2 * 2**30
