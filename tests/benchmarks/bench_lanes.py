"""Microseconds a trial-step: lanes against a plain PyTorch loop and a hand-written JAX vmap + scan + jit.

    pip install jax && pytest tests/benchmarks/bench_lanes.py --benchmark-only -s

Adam on minibatches of 128 of the digits MLP (64-64-10) and the digits CNN. Every PyTorch side runs on one thread a
process, and once more as two processes at the same time, which is how a run uses two cores. JAX takes the cores that
it wants, and once more it runs as two processes with a core each. Sides take turns, the least of three rounds counts,
scoring is off the clock and compilation is warmed away.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import pytest
import torch
from benchmarks.steps import BATCH, bare, grouped

from optbench.core.problem import fresh
from optbench.registry.catalog import Catalog

PROBLEMS = {"mlp": "mlp_digits[hidden=64]", "cnn": "cnn_digits"}
LANES = {"mlp": (1, 8, 32, 128), "cnn": (1, 8, 32)}
ROUNDS = 3
STEPS = {"mlp": 6_000, "cnn": 1_200}  # trial-steps that one measurement takes


def plain(kind: str, lanes: int, trial_steps: int) -> float:
    """Seconds a step of a bare loop."""
    torch.set_num_threads(1)
    return seconds(bare(Catalog().problem(PROBLEMS[kind])), max(100, trial_steps // 8))


def ours(kind: str, lanes: int, trial_steps: int, threads: int = 1) -> float:
    """Seconds a trial-step of a lane group, every lane with a seed of its own."""
    torch.set_num_threads(threads)
    return seconds(grouped(Catalog().problem(PROBLEMS[kind]), lanes), max(20, trial_steps // lanes)) / lanes


def seconds(step: Callable[[], None], count: int) -> float:
    """Of a step, over so many of them."""
    began = perf_counter()
    for _ in range(count):
        step()
    return (perf_counter() - began) / count


def with_jax(kind: str, lanes: int, trial_steps: int) -> float:
    """Seconds a trial-step of vmap + scan + jit, written by hand for the MLP, its batches gathered inside."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    problem = Catalog().problem(PROBLEMS[kind])
    x, y = (jnp.asarray(t.numpy()) for t in problem.data().train)
    nets = [fresh(problem, seed)[0] for seed in range(lanes)]
    layers = zip(*(net.parameters() for net in nets), strict=True)
    start = [jnp.asarray(np.stack([p.detach().numpy() for p in same])) for same in layers]
    count = max(20, trial_steps // lanes)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(len(x))[:BATCH] for _ in range(count * lanes)])
    order = jnp.asarray(rows).reshape(count, lanes, BATCH)

    def loss(p: Any, index: Any) -> Any:
        hidden = jax.nn.relu(x[index] @ p[0].T + p[1])
        scores = jax.nn.log_softmax(hidden @ p[2].T + p[3])
        return -jnp.take_along_axis(scores, y[index][:, None], 1).mean()

    gradient = jax.vmap(jax.grad(loss))

    def step(state: Any, index: Any) -> Any:
        p, m, v, t = state
        g, t = gradient(p, index), t + 1
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g, strict=True)]
        unbiased = [(b / (1 - 0.9**t), c / (1 - 0.999**t)) for b, c in zip(m, v, strict=True)]
        p = [a - 1e-3 * b / (jnp.sqrt(c) + 1e-8) for a, (b, c) in zip(p, unbiased, strict=True)]
        return (p, m, v, t), None

    train = jax.jit(lambda p, order: jax.lax.scan(step, (p, [0 * a for a in p], [0 * a for a in p], 0.0), order)[0][0])
    jax.block_until_ready(train(start, order))  # compiles
    began = perf_counter()
    jax.block_until_ready(train(start, order))
    return (perf_counter() - began) / count / lanes


def on_one_core(cores: Any) -> None:
    """Keep this worker to a core of its own; JAX asks how many there are when it starts."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {cores.get()})


def measured(pool: ProcessPoolExecutor, side: Callable[..., float], kind: str, lanes: int, processes: int) -> float:
    """Microseconds a trial-step of so many processes at once."""
    jobs = [pool.submit(side, kind, lanes, STEPS[kind]) for _ in range(processes)]
    return 1e6 / sum(1 / job.result() for job in jobs)


@pytest.mark.parametrize("kind", list(PROBLEMS))
def test_threads_and_workers(benchmark, kind: str) -> None:
    """Two cores as one process of two threads, and as two processes of one thread or of two.

    The last is left out for the CNN: it takes longer than all the others together.
    """
    found: dict[tuple[int, int, int], float] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def turn() -> None:
            for lanes in (1, 8, 32):
                for processes, threads in ((1, 1), (1, 2), (2, 1), (2, 2))[: 4 if kind == "mlp" else 3]:
                    key = lanes, processes, threads
                    took = measured(pool, partial(ours, threads=threads), kind, lanes, processes)
                    found[key] = min(found.get(key, took), took)

        benchmark.pedantic(turn, rounds=2)
    print(f"\n{kind}: microseconds a trial-step")
    for (lanes, processes, threads), took in found.items():
        print(f"  {lanes:>3} lanes, {processes} processes of {threads} threads {took:8.1f}")


@pytest.mark.parametrize("kind", list(PROBLEMS))
def test_a_trial_step(benchmark, kind: str) -> None:
    sides: dict[str, tuple[Callable[..., float], int, int]] = {"plain": (plain, 1, 1), "plain x2": (plain, 1, 2)}
    for lanes in LANES[kind]:
        sides[f"{lanes} lanes"] = (ours, lanes, 1)
        sides[f"{lanes} lanes x2"] = (ours, lanes, 2)
        if kind == "mlp" and importlib.util.find_spec("jax"):
            sides[f"jax {lanes}"] = (with_jax, lanes, 1)
            sides[f"jax {lanes} x2"] = (with_jax, lanes, 2)
    found: dict[str, float] = {}
    spawn = get_context("spawn")
    cores = spawn.Queue()
    for core in (0, 1):
        cores.put(core)
    with (
        ProcessPoolExecutor(2, mp_context=spawn) as free,
        ProcessPoolExecutor(2, mp_context=spawn, initializer=on_one_core, initargs=(cores,)) as pinned,
    ):

        def turn() -> None:
            for name, (side, lanes, processes) in sides.items():
                pool = pinned if side is with_jax and processes == 2 else free
                took = measured(pool, side, kind, lanes, processes)
                found[name] = min(found.get(name, took), took)

        benchmark.pedantic(turn, rounds=ROUNDS)
    benchmark.extra_info |= found
    print(f"\n{kind}: microseconds a trial-step, and how many times the plain loop's speed")
    for name, took in found.items():
        print(f"  {name:<14}{took:8.1f}{found['plain'] / took:8.2f}")
