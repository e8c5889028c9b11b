"""What a network has learned, as it changes: a function, a decision boundary, or a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optbench.watch.landscape import FINE, MAX_CLASSES, Array, Landscape

MAX_DOTS = 300  # samples that are drawn


@dataclass(frozen=True)
class View:
    """kind: "function", "boundary" or "confusion". fixed: what does not change, ready for JSON. frames: a list a path,
    a list of numbers a frame.
    """

    kind: str
    title: str
    fixed: dict[str, Any]
    frames: list[list[Any]]


def learned(landscape: Landscape, paths: Sequence[Sequence[Tensor]]) -> View | None:
    """The view that fits the problem's data; None where there is none. paths: the points (D,) of each run."""
    data = landscape.data.train
    if len(data) != 2 or data[0].ndim < 2 or not len(data[0]):
        return None
    inputs, targets = data
    try:
        answer = landscape.outputs(paths[0][0], inputs[:2])
    except (RuntimeError, TypeError, ValueError):  # a network that takes no plain batch has no such picture
        return None
    width = inputs[0].numel()
    if width == 1 and answer[0].numel() == 1:
        return _function(landscape, paths, inputs, targets)
    if width == 2 and inputs.ndim == 2 and _classes(answer, targets):
        return _boundary(landscape, paths, inputs, targets)
    if 2 <= _classes(answer, targets) <= MAX_CLASSES:
        return _confusion(landscape, paths, inputs, targets)
    return None


def _classes(answer: Tensor, targets: Tensor) -> int:
    """How many classes the outputs tell apart; 0 for a regression."""
    if not targets.is_floating_point() and answer.ndim == 2:
        return answer.shape[1]
    return 2 if answer[0].numel() == 1 and set(targets.unique().tolist()) <= {0.0, 1.0} else 0


def _decided(answer: Tensor) -> Tensor:
    """(N,) the class of each output."""
    return answer.argmax(1) if answer.ndim == 2 and answer.shape[1] > 1 else (answer.flatten() > 0).long()


def _dots(count: int) -> Tensor:
    return torch.arange(0, count, max(1, -(-count // MAX_DOTS)))


def _function(landscape: Landscape, paths: Sequence[Sequence[Tensor]], x: Tensor, y: Tensor) -> View:
    low, high = float(x.min()), float(x.max())
    at = torch.linspace(low, high, 2 * FINE, dtype=x.dtype).view(-1, *x.shape[1:])
    frames = [[_short(landscape.outputs(point, at).flatten().double().numpy()) for point in path] for path in paths]
    dots = _dots(len(x))
    fixed = {
        "x": _short(at.flatten().double().numpy()),
        "dots": [_short(x[dots].flatten().double().numpy()), _short(y[dots].flatten().double().numpy())],
    }
    return View("function", "the learned function, and the training data", fixed, frames)


def _boundary(landscape: Landscape, paths: Sequence[Sequence[Tensor]], x: Tensor, y: Tensor) -> View:
    low, high = x.min(0).values, x.max(0).values
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    sides = [torch.linspace(float(low[k]), float(high[k]), FINE, dtype=x.dtype) for k in range(2)]
    at = torch.stack(torch.meshgrid(*sides, indexing="xy"), -1).reshape(-1, 2)
    frames = [["".join(map(str, _decided(landscape.outputs(p, at)).tolist())) for p in path] for path in paths]
    dots = _dots(len(x))
    fixed = {
        "window": [float(low[0]), float(high[0]), float(low[1]), float(high[1])],
        "side": FINE,
        "dots": [_short(x[dots, 0].double().numpy()), _short(x[dots, 1].double().numpy())],
        "classes": y.flatten().long()[dots].tolist(),
    }
    return View("boundary", "the decision boundary, and the training data", fixed, frames)


def _confusion(landscape: Landscape, paths: Sequence[Sequence[Tensor]], x: Tensor, y: Tensor) -> View:
    true = y.flatten().long()
    count = max(2, int(true.max()) + 1)

    def shares(point: Tensor) -> list[float]:
        found = _decided(landscape.outputs(point, x)).clamp(0, count - 1)
        table = np.zeros((count, count))
        np.add.at(table, (true.numpy(), found.numpy()), 1)
        return _short((table / np.maximum(table.sum(1, keepdims=True), 1)).flatten(), 2)

    frames = [[shares(point) for point in path] for path in paths]
    return View("confusion", "which class (row) is taken for which (column)", {"classes": count}, frames)


def _short(values: Array, digits: int = 4) -> list[float]:
    """Numbers as JSON takes them: few digits, none that is not finite."""
    return [float(f"{value:.{digits}g}") for value in np.nan_to_num(values, posinf=1e30, neginf=-1e30)]
