"""The roof of a lane group's step: what share of it are the products that it cannot do without, and how fast are those?

    python tests/benchmarks/bench_roof.py cnn_digits --lanes 32

Processor microseconds a trial-step of one thread, minima of turns: the whole gradient; its convolutions alone, as the
grouped convolutions that lanes become; the same sums as products of matrices (im2col), without the copies that would
need; and what one large product of this machine would take for all FLOPs. Each is below the one before it: how much
there is to win, and by what.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from optbench.core.minibatches import take
from optbench.core.problem import fresh
from optbench.engine.data import splits
from optbench.engine.flops import flops
from optbench.engine.model import BatchedModel
from optbench.registry.catalog import Catalog

BATCH = 128
ATEN = torch.ops.aten


def convolutions(problem: Any) -> list[tuple[nn.Conv2d, torch.Size]]:
    """The network's convolutions with the shapes of their inputs (N, C, H, W), in the order of a forward."""
    net, found = fresh(problem, 0)[0], []
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [
        layer.register_forward_hook(lambda layer, given, _: found.append((layer, given[0].shape))) for layer in layers
    ]
    with torch.no_grad():
        problem.loss(net, take(splits(problem, "cpu").train, torch.arange(BATCH)))
    for hook in hooks:
        hook.remove()
    return found


def grouped(layers: list[tuple[nn.Conv2d, torch.Size]], lanes: int) -> Callable[[], None]:
    """Forward and backward of all convolutions of so many lanes, each one grouped convolution, channels innermost."""
    calls = []
    for number, (layer, (n, c, h, w)) in enumerate(layers):
        x = torch.randn(n, lanes * c, h, w).contiguous(memory_format=torch.channels_last)
        weight = torch.randn(lanes * layer.out_channels, *layer.weight.shape[1:])
        how = (list(layer.stride), list(layer.padding), list(layer.dilation), False, [0, 0], lanes * layer.groups)
        out = ATEN.convolution(x, weight, None, *how)
        needs = [number > 0, True, False]
        calls.append((x, weight, how, torch.randn_like(out), needs))

    def run() -> None:
        for x, weight, how, back, needs in calls:
            ATEN.convolution(x, weight, None, *how)
            ATEN.convolution_backward(back, x, weight, None, *how, needs)

    return run


def products(layers: list[tuple[nn.Conv2d, torch.Size]], lanes: int) -> Callable[[], None]:
    """The same sums as batched products of matrices that are laid out already."""
    calls = []
    for number, (layer, (n, c, h, w)) in enumerate(layers):  # none of them has groups of its own
        _, _, high, wide = layer(torch.zeros(1, c, h, w)).shape
        rows, inner = n * high * wide, layer.weight[0].numel()
        table, weight = torch.randn(lanes, rows, inner), torch.randn(lanes, inner, layer.out_channels)
        calls.append((table, weight, torch.randn(lanes, rows, layer.out_channels), number > 0))

    def run() -> None:
        for table, weight, back, deep in calls:
            table @ weight
            table.mT @ back
            if deep:
                back @ weight.mT

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=["cnn_digits"])
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| | lanes | whole gradient | its convolutions, grouped | as products (im2col) | one large product |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in given.problems:
        problem = Catalog().problem(name)
        data, layers = splits(problem, "cpu").train, convolutions(problem)
        model = BatchedModel(problem, tuple(range(given.lanes)), "cpu", steps=10**6)
        index = torch.stack([torch.randperm(len(data[0]))[:BATCH] for _ in range(given.lanes)])
        a = torch.randn(1024, 1024)
        sides: dict[str, Callable[[], Any]] = {
            "whole": lambda model=model, data=data, index=index: model.gradients(model.matrix, data, index),  # type: ignore[misc]
            "grouped": grouped(layers, given.lanes),
            "products": products(layers, given.lanes),
            "large": lambda a=a: a @ a,  # type: ignore[misc]
        }
        best = dict.fromkeys(sides, float("inf"))
        for _ in range(given.rounds + 1):
            for side, call in sides.items():
                began = time.process_time()
                call()
                call()
                best[side] = min(best[side], (time.process_time() - began) / 2)
        large = sum(flops(problem, BATCH, "cpu")) * best["large"] / (2 * 1024**3)
        cells = [1e6 * best[side] / given.lanes for side in ("whole", "grouped", "products")]
        print(f"| {name} | {given.lanes} | " + " | ".join(f"{cell:.0f}" for cell in (*cells, 1e6 * large)) + " |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
