"""Dynamic programming: speed against a segmentation library, and how its cost grows.

    OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/bench_dp.py --benchmark-only -s

Both sides run here, on the same signals, one thread each. ruptures' Dynp takes minutes at 2,000 samples (its table is
filled by a recursion in Python), so it runs once; its KernelCPD, which fills the same table in C, runs beside it.
Times are the least of several runs, for on a shared machine that is what the code takes. Tables are printed and kept in
`extra_info`.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import ruptures
import torch

from optbench.core.objective import Objective, Stop
from optbench.engine.metered import metered, metered_as
from optbench.optimizers.exact.ddp import DDP
from optbench.optimizers.exact.dp_grid import DPGrid
from optbench.optimizers.exact.dp_segments import Absolute, Binary, Labels, Segments, Squared
from optbench.optimizers.exact.dp_step import segment
from optbench.problems.sine_grid import SineGrid
from optbench.registry.catalog import Catalog

SAMPLES, BREAKS = 2000, 16


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def signal(samples: int) -> np.ndarray:
    """A staircase of 17 random levels with noise, (samples, 1)."""
    stream = np.random.default_rng(0)
    levels = np.repeat(stream.normal(size=17) * 3, -(-samples // 17))[:samples]
    return (levels + stream.normal(size=samples))[:, None]


def ours(y: np.ndarray, breaks: int) -> list[int]:
    return [*segment(Squared(y, np.arange(len(y) + 1)), len(y), breaks), len(y)]


def dynp(y: np.ndarray, breaks: int) -> list[int]:
    return list(ruptures.Dynp(model="l2", min_size=1, jump=1).fit(y).predict(n_bkps=breaks))


def kernel(y: np.ndarray, breaks: int) -> list[int]:
    return list(ruptures.KernelCPD(kernel="linear", min_size=1, jump=1).fit(y).predict(n_bkps=breaks))


def seconds(run: Callable[[], Any], rounds: int = 9) -> float:
    """The least over `rounds` runs."""
    return min(timed(run)[0] for _ in range(rounds))


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long one run takes, and what it gives."""
    began = perf_counter()
    found = run()
    return perf_counter() - began, found


def table(benchmark: Any, title: str, head: str, rows: list[str]) -> None:
    benchmark.extra_info[title] = [head, *rows]
    print(f"\n{title}\n  {head}", *rows, sep="\n  ")


@pytest.mark.benchmark(group=f"dp_step, {SAMPLES} samples, {BREAKS} breaks")
def test_dp_step_against_ruptures(benchmark: Any) -> None:
    """The same breaks from all three, at 200 samples and at 2,000."""
    rows = []
    for samples in (200, SAMPLES):
        y = signal(samples)
        mine, by_kernel = seconds(lambda y=y: ours(y, BREAKS)), seconds(lambda y=y: kernel(y, BREAKS))  # type: ignore[misc]
        by_dynp, theirs = timed(lambda y=y: dynp(y, BREAKS))  # type: ignore[misc]
        assert ours(y, BREAKS) == kernel(y, BREAKS) == theirs
        rows.append(f"{samples:7,} {mine:9.4f} {by_dynp:9.3f} {by_dynp / mine:9.0f}x {by_kernel:10.4f}")
    benchmark.pedantic(ours, (y, BREAKS), rounds=5)
    table(benchmark, "seconds", "samples   dp_step      Dynp     ratio  KernelCPD", rows)


def test_growth_of_dp_step(benchmark: Any) -> None:
    """Quadratic in the samples, linear in the breaks; the losses differ in what a column of costs takes."""
    stream = np.random.default_rng(0)
    rows = []
    for samples in (500, 1000, 2000, 4000):
        y, ends = signal(samples), np.arange(samples + 1)
        losses: dict[str, Segments] = {
            "mse": Squared(y, ends),
            "l1": Absolute(y, ends),
            "bce": Binary((y > 0) * 1.0, ends),
            "cross-entropy, 3": Labels(stream.integers(0, 3, samples), ends, 3),
        }
        for breaks in (4, 16, 64):
            times = [seconds(lambda s=s, n=samples, k=breaks: segment(s, n, k), 3) for s in losses.values()]  # type: ignore[misc]
            rows.append(f"{samples:7,} {breaks:6} " + " ".join(f"{time:8.3f}" for time in times))
    benchmark.pedantic(ours, (signal(1000), BREAKS), rounds=3)
    table(benchmark, "seconds by samples and breaks", "samples breaks      mse       l1      bce   ce of 3", rows)


def solve(K: int, L: int, **settings: Any) -> tuple[float, float]:
    """(seconds, the certified loss) of dp_grid on a sine problem."""
    f = metered(SineGrid(K, L), [0], 10.0)
    took, _ = timed(lambda: DPGrid(**settings).minimise(f))
    certificate = f.finish().certificates[0]
    assert certificate is not None
    return took, certificate["upper"]


def test_growth_of_dp_grid(benchmark: Any) -> None:
    """By units K and grid -L..L, with both halves met in the middle and with the last unit streamed."""
    rows = []
    for K, L in [
        (2, 1),
        (2, 2),
        (2, 3),
        (2, 4),
        (3, 1),
        (3, 2),
        (3, 3),
        (4, 1),
        (4, 2),
        (4, 3),
        (5, 1),
        (5, 2),
        (6, 1),
        (6, 2),
    ]:
        networks = (2 * L + 1) ** (3 * K + 1)
        took, least = min(solve(K, L) for _ in range(3))
        streamed = f"{solve(K, L, middle=False)[0]:9.2f}" if networks < 1e10 else "        -"
        tracemalloc.start()
        solve(K, L)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        rows.append(f"{K} {L} {networks:9.1e} {took:9.3f} {streamed} {peak:8.0f}  {least:.6f}")
    benchmark.pedantic(solve, (3, 3), rounds=3)
    table(benchmark, "dp_grid on sines", "K L  networks   seconds  streamed peak MiB  least loss", rows)


@pytest.mark.benchmark(group="dp_grid on sines")
@pytest.mark.parametrize(("K", "L"), [(4, 3), (5, 2)])
def test_dp_grid(K: int, L: int, benchmark: Any) -> None:
    _, least = benchmark.pedantic(solve, (K, L), rounds=3)
    assert least == pytest.approx(SineGrid(K, L).grid_best, rel=1e-12)


def test_ddp_beside_lbfgs(benchmark: Any) -> None:
    """Seconds and passes to a loss of 1e-6 on the 1-5-1 sine, medians over five seeds."""
    lbfgs = Catalog().optimizer("scipy_lbfgsb", {}).optimizer
    rows = []
    for name, optimizer in (("ddp", DDP()), ("scipy_lbfgsb", lbfgs)):
        found = [reach(optimizer, seed) for seed in range(5)]
        rows.append(f"{name:13} " + " ".join(f"{value:10.3g}" for value in np.median(found, axis=0)))
    benchmark.pedantic(reach, (DDP(), 0), rounds=3)
    table(benchmark, "to a loss of 1e-6", "optimizer        seconds     passes evaluations", rows)


class Reached(BaseException):
    """The target is met. Not an Exception, so that it passes through libraries."""


class Timed(Objective):
    """An objective that ends a run at its target."""

    def value(self, x: torch.Tensor) -> torch.Tensor:
        losses = super().value(x)
        if float(losses.min()) < 1e-6:
            raise Reached
        return losses

    def value_and_grad(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        losses, gradients = super().value_and_grad(x)
        if float(losses.min()) < 1e-6:
            raise Reached
        return losses, gradients


def reach(optimizer: Any, seed: int) -> tuple[float, float, float]:
    """(seconds, passes, evaluations) to a loss of 1e-6; infinite where the optimizer ends above it."""
    f = metered_as(Timed, SineGrid(5, 2), [seed], 1e5)
    began = perf_counter()
    try:
        optimizer.minimise(f)
    except Reached:
        return perf_counter() - began, f.spent.passes, f.spent.evaluations
    except Stop:
        return np.inf, np.inf, np.inf
    return np.inf, np.inf, np.inf
