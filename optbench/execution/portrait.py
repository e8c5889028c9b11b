"""What a report shows of a problem: the layers of its network, and summaries of its data, never a row of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from optbench.core.problem import Problem

FEW = 8  # samples that go through the network to see its shapes
BINS = 16  # of a histogram, and of the inputs of a curve
MIN_EACH = 5  # samples of each value, on average, from which values are labels
MAX_CLASSES = 100  # labels that are counted one by one
MAX_PIXELS = 32 * 32  # of a mean image


def network(problem: Problem, train: Sequence[Tensor]) -> list[dict[str, Any]]:
    """The layers in the order in which data first pass them: kind, shapes of one sample in and out, parameters.

    Empty where no module takes a tensor and gives one, as in a test function.
    """
    with torch.random.fork_rng(devices=[]):  # the run's own random numbers stay as they were
        return _layers(problem, train)


def _layers(problem: Problem, train: Sequence[Tensor]) -> list[dict[str, Any]]:
    net, found = problem.network().to(problem.dtype), []
    seen: set[int] = set()

    def note(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        if id(module) in seen or not given or not isinstance(given[0], Tensor) or not isinstance(out, Tensor):
            return
        seen.add(id(module))
        found.append(
            {"kind": type(module).__name__, "in": list(given[0].shape[1:]), "out": list(out.shape[1:])}
            | {"parameters": sum(p.numel() for p in module.parameters())}
        )

    leaves = [module for module in net.modules() if not [*module.children()]]
    hooks = [module.register_forward_hook(note) for module in leaves]
    try:
        with torch.no_grad():
            problem.loss(net, tuple(part[:FEW].cpu() for part in train))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def data(train: Sequence[Tensor]) -> dict[str, Any]:
    """Shapes of a training sample; how its targets lie; for one input the middle target along it; for small images the
    mean one. Empty for data that are no numbers.
    """
    parts = [part.detach().cpu() for part in train]
    if not parts or len(parts[0]) < 2:
        return {}
    out: dict[str, Any] = {"shapes": [list(part.shape[1:]) for part in parts]}
    inputs = parts[0]
    if len(parts) > 1 and parts[1].reshape(len(parts[1]), -1).shape[1] == 1:
        targets = parts[1].reshape(-1)
        out["targets"] = _classes(targets) if not targets.is_floating_point() else _histogram(targets.double())
        if inputs.is_floating_point() and inputs.reshape(len(inputs), -1).shape[1] == 1:
            out["curve"] = _curve(inputs.reshape(-1).double(), targets.double())
    if inputs.is_floating_point() and inputs.dim() in (3, 4) and inputs.shape[-1] * inputs.shape[-2] <= MAX_PIXELS:
        mean = inputs.double().flatten(0, -3).mean(dim=0)
        span = float(mean.max() - mean.min()) or 1.0
        out["mean_image"] = [[round(float(v), 2) for v in row] for row in (mean - mean.min()) / span]
    return out


def _classes(targets: Tensor) -> dict[str, Any]:
    values, counts = targets.unique(return_counts=True)
    if len(values) > MAX_CLASSES:
        return _histogram(targets.double())
    return {"kind": "classes", "at": values.tolist(), "counts": counts.tolist()}


def _histogram(values: Tensor) -> dict[str, Any]:
    values = values[values.isfinite()]
    if not len(values):
        return {}
    few = values.unique()
    if MIN_EACH * len(few) <= len(values) and len(few) <= BINS:  # labels that are written as real numbers
        return {"kind": "classes", "at": [_short(v) for v in few], "counts": [int((values == v).sum()) for v in few]}
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"kind": "classes", "at": [_short(low)], "counts": [len(values)]}
    counts = values.histc(BINS, low, high)
    edges = [_short(low + (high - low) * k / BINS) for k in range(BINS + 1)]
    return {"kind": "values", "at": edges, "counts": counts.int().tolist()}


def _curve(inputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """The median target in each part of the inputs that holds as many samples as the others."""
    order = inputs.argsort()
    parts = torch.tensor_split(order, min(BINS, len(order)))
    return {
        "x": [_short(inputs[part].median()) for part in parts],
        "y": [_short(targets[part].median()) for part in parts],
    }


def _short(value: Any) -> float:
    number = float(value)
    return float(f"{number:.4g}") if math.isfinite(number) else 0.0
