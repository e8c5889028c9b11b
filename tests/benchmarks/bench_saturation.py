"""Trial-steps a second by the width of the lane group, on the GPU where there is one: where does it saturate?

    pytest tests/benchmarks/bench_saturation.py --benchmark-only -s

Adam on minibatches of 128 of the digits MLP (64-64-10), one process, against a plain PyTorch loop on the same device.
The rate is also stated as a share of what the device reaches in one large float32 matrix product, measured in the same
run. On a CPU one thread is used. Prints a table for docs/ with the machine it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from benchmarks.steps import BATCH, bare, grouped

from optbench.engine.flops import flops
from optbench.execution.machine import ceiling, describe, versions
from optbench.registry.catalog import Catalog

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WIDTHS = [2**k for k in range(0, 13 if DEVICE == "cuda" else 9, 2 if DEVICE == "cpu" else 1)]
ROUNDS, SECONDS = 3, 1.0
SATURATED = 0.9  # of the best rate
PROBLEM = Catalog().problem("mlp_digits[hidden=64]")


def seconds(step: Callable[[], None]) -> float:
    """Of a step, over about a second of them."""
    done, began = 0, perf_counter()
    while done < 10 or perf_counter() - began < SECONDS:
        for _ in range(10):
            step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        done += 10
    return (perf_counter() - began) / done


def test_saturation(benchmark) -> None:
    torch.set_num_threads(1)
    rates: dict[int, float] = {}  # trial-steps a second, width 0 being the plain loop

    def turn() -> None:
        for width in (0, *WIDTHS):
            rate = max(1, width) / seconds(grouped(PROBLEM, width, DEVICE) if width else bare(PROBLEM, DEVICE))
            rates[width] = max(rate, rates.get(width, 0.0))

    benchmark.pedantic(turn, rounds=ROUNDS)
    work, peak = sum(flops(PROBLEM, BATCH, DEVICE)), ceiling(DEVICE)
    saturated = next(width for width in WIDTHS if rates[width] >= SATURATED * max(rates.values()))
    benchmark.extra_info |= {"rates": rates, "ceiling": peak, "flops": work, "saturated": saturated}
    on = describe()
    print(f"\n{DEVICE}: {on['gpu'] or on['cpu']}; {', '.join(f'{k} {v}' for k, v in versions().items())}")
    print(f"a trial-step is {work / 1e6:.2f} MFLOP; one large product reaches {peak / 1e9:.0f} GFLOP/s\n")
    print("| lanes | trial-steps a second | times the plain loop | share of the ceiling |\n|---:|---:|---:|---:|")
    for width, rate in rates.items():
        name = width or "plain loop"
        print(f"| {name} | {rate:,.0f} | {rate / rates[0]:.1f} | {100 * rate * work / peak:.1f} % |")
    print(f"\n{100 * SATURATED:.0f} % of the best rate from {saturated} lanes on")
