"""The loss of one's own problem: a name, a torch module or a function of outputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench.core.losses import logit_accuracy, r2
from optbench.core.trial import RequestError

Criterion = Callable[..., Tensor]
FIRST = ("logits", "out", "output", "prediction", "y_hat", "loss")  # what a model's mapping is asked for, in this order


def first_output(found: Any) -> Any:
    """The tensor that a named loss takes of whatever a model returns: a tensor, a mapping, an object or a tuple."""
    if isinstance(found, Tensor):
        return found
    if isinstance(found, Mapping):
        return next((found[name] for name in FIRST if name in found), next(iter(found.values())))
    for name in FIRST:
        if isinstance(getattr(found, name, None), Tensor):
            return getattr(found, name)
    return found[0] if isinstance(found, Sequence) and found else found


def cross_entropy(outputs: Any, target: Tensor) -> Tensor:
    """Scores (N, C, ...) or (N, L, C) against labels (N, ...)."""
    return F.cross_entropy(*_scores(outputs, target))


def _scores(outputs: Any, target: Tensor) -> tuple[Tensor, Tensor]:
    scores = first_output(outputs)
    if target.ndim == 2 and target.shape[1] == 1 and scores.ndim == 2:
        target = target[:, 0]
    if target.ndim == 2 and scores.ndim == 3 and scores.shape[:2] == target.shape:  # a sequence: (N, L, C)
        return scores.flatten(0, 1), target.flatten()
    return scores, target


def accuracy(outputs: Any, target: Tensor) -> Tensor:
    """Share of the labels that have the largest score, those that are -100 (padding) left out."""
    scores, labels = _scores(outputs, target)
    counted = labels != -100
    right = (scores.max(1).indices == labels) & counted
    return right.double().sum() / counted.sum().clamp(min=1)


def _alike(outputs: Any, target: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (N, 1) beside targets (N,), or the other way round, in one shape: never (N, N) by broadcasting."""
    found = first_output(outputs)
    if found.ndim == target.ndim + 1 and found.shape[-1] == 1:
        found = found.squeeze(-1)
    elif target.ndim == found.ndim + 1 and target.shape[-1] == 1:
        target = target.squeeze(-1)
    if found.shape != target.shape:
        raise ValueError(f"outputs {tuple(found.shape)} and targets {tuple(target.shape)} differ in shape")
    return found, target.to(found.dtype)


def mse(outputs: Any, target: Tensor) -> Tensor:
    return F.mse_loss(*_alike(outputs, target))


def l1(outputs: Any, target: Tensor) -> Tensor:
    return F.l1_loss(*_alike(outputs, target))


def bce(outputs: Any, target: Tensor) -> Tensor:
    """Binary cross-entropy from logits; targets 0 to 1."""
    return F.binary_cross_entropy_with_logits(*_alike(outputs, target))


def _r2(outputs: Any, target: Tensor) -> Tensor:
    return r2(*_alike(outputs, target))


def _logit_accuracy(outputs: Any, target: Tensor) -> Tensor:
    return logit_accuracy(*_alike(outputs, target))


def output(outputs: Any, target: Tensor | None = None) -> Tensor:
    """The loss that the model itself returns, as `loss` or as its only output."""
    if isinstance(outputs, Mapping) and "loss" in outputs:
        return outputs["loss"]
    return getattr(outputs, "loss", None) if hasattr(outputs, "loss") else first_output(outputs)  # type: ignore[return-value]


NAMED: dict[str, tuple[Criterion, dict[str, Criterion]]] = {
    "cross-entropy": (cross_entropy, {"accuracy": accuracy}),
    "mse": (mse, {"r2": _r2}),
    "l1": (l1, {"r2": _r2}),
    "bce": (bce, {"accuracy": _logit_accuracy}),
    "output": (output, {}),
}
_MODULES: dict[type, str] = {
    nn.CrossEntropyLoss: "cross-entropy",
    nn.MSELoss: "mse",
    nn.L1Loss: "l1",
    nn.BCEWithLogitsLoss: "bce",
}


def criterion(loss: Any) -> tuple[str, Criterion, dict[str, Criterion]]:
    """(name, function of outputs and targets, metrics that go with it). Raises RequestError.

    A module of torch with settings of its own (weights, smoothing) is no loss that exact methods know by its name.
    """
    if isinstance(loss, str):
        name = loss.replace("_", "-").lower()
        if name not in NAMED:
            raise RequestError(f"unknown loss {loss!r}; {', '.join(NAMED)}, a torch loss module, or a function")
        return (name, *NAMED[name])
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        loss = loss()
    known = _MODULES.get(type(loss))
    if known and _plain(loss):
        return (known, *NAMED[known])
    if not callable(loss):
        raise RequestError(f"the loss is a {type(loss).__name__}; a name, a torch loss module, or f(outputs, target)")
    name = getattr(loss, "__name__", type(loss).__name__).strip("<>")
    return name, loss, (NAMED[known][1] if known else {})


def _plain(loss: nn.Module) -> bool:
    fresh = type(loss)()
    settings = ("weight", "ignore_index", "reduction", "label_smoothing", "pos_weight")
    return all(_same(getattr(loss, name, None), getattr(fresh, name, None)) for name in settings)


def _same(a: Any, b: Any) -> bool:
    return a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b)


def takes_inputs(loss: Criterion) -> bool:
    """Whether a loss of one's own takes (outputs, target, inputs): for masks that come with the inputs."""
    try:
        names = [
            p
            for p in inspect.signature(loss).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
    except (TypeError, ValueError):
        return False
    return len(names) >= 3


def scalar(value: Any, what: str) -> Tensor:
    """A scalar tensor. Raises ValueError with what helps."""
    found = torch.as_tensor(value)
    if found.numel() != 1:
        raise ValueError(f"{what} gives shape {tuple(found.shape)}, it must be a scalar: take its mean")
    return found.reshape(())
