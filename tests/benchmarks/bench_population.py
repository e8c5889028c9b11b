"""Candidates a second: ours against loops, vmap, pyswarms, evotorch and JAX, all sides on the same work.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/bench_population.py --benchmark-only

One thread a side: JAX is held to one by XLA_FLAGS below. A peer that is not installed is skipped:
pip install evotorch evosax "jax[cpu]".
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

from optbench.objective import Objective, Stop
from optbench.optimizers.particle_swarm import ParticleSwarm
from optbench.problem import Batch, Best, Net, Problem, Splits
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
    f = Objective(problem, [0], 10**9)
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


@pytest.mark.benchmark(group="128 candidates on all digits, D = 2,410")
@pytest.mark.parametrize("side", SIDES)
def test_candidates_a_second(side: str, benchmark: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluate = SIDES[side]()
        found = benchmark.pedantic(evaluate, rounds=15, warmup_rounds=20 if side == "ours" else 2)
    benchmark.extra_info["candidates a second"] = round(CANDIDATES / benchmark.stats.stats.min)
    _, x, batch, net = setting()
    with torch.no_grad():
        plain = torch.stack([single(net, batch)(row) for row in x[0, :4]]).numpy()
    np.testing.assert_allclose(np.array(found)[:4].reshape(-1), plain, rtol=1e-4)


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


def our_swarm(dim: int) -> Callable[[], Any]:
    """STEPS iterations of a fresh run, drawing its start included."""
    torch.set_num_threads(1)

    def go() -> Any:
        f = Objective(Bowl(dim), [0], CANDIDATES * STEPS)
        try:
            ParticleSwarm(swarm=CANDIDATES).minimise(f)
        except Stop:
            return f.seconds
        return None

    return go


def their_swarm(dim: int) -> Callable[[], Any]:
    jax, evosax = pytest.importorskip("jax"), pytest.importorskip("evosax.algorithms")
    jnp = jax.numpy
    start = jax.random.normal(jax.random.key(0), (CANDIDATES, dim))
    swarm = evosax.PSO(population_size=CANDIDATES, solution=start[0])
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

    return go


@pytest.mark.parametrize("side", [our_swarm, their_swarm], ids=["ours", "evosax"])
@pytest.mark.parametrize("dim", [2_410, 100_000])
def test_a_whole_step_of_a_swarm(dim: int, side: Callable[[int], Callable[[], Any]], benchmark: Any) -> None:
    benchmark.group = f"{STEPS} steps of 128 particles, D = {dim:,}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        benchmark.pedantic(side(dim), rounds=3, warmup_rounds=1)
