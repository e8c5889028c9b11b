"""Named losses: a problem declares one, and the exact methods that know it find it by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

Pair = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> a scalar


@dataclass(frozen=True)
class Loss:
    """A loss and what is measured beside it.

    name: what exact methods and tables call it. function: (outputs, targets) -> the mean over the batch, a scalar.
    metrics: {name: (outputs, targets) -> a scalar}, for scoring.
    """

    name: str
    function: Pair
    metrics: tuple[tuple[str, Pair], ...] = ()

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.function(outputs, targets)

    def with_metrics(self, **metrics: Pair) -> Loss:
        """The same loss, scored with these metrics."""
        return replace(self, metrics=tuple(metrics.items()))


def accuracy(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of the samples whose largest score (N, C) is their label's (N,)."""
    return (scores.max(-1).indices == labels).double().mean()


def logit_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the samples whose logit, (N,) or (N, 1), has the sign of their label, 0 or 1."""
    return ((_as(logits, labels) > 0) == (labels > 0)).double().mean()


def r2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Coefficient of determination against the mean of these targets."""
    return 1 - (outputs - targets).square().sum() / (targets - targets.mean()).square().sum()


def _bce(logits: Tensor, labels: Tensor) -> Tensor:
    logits = _as(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def _as(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (N, 1) as (N,) where the labels are."""
    return logits.squeeze(1) if logits.ndim == labels.ndim + 1 else logits


MSE = Loss("mse", F.mse_loss)
L1 = Loss("l1", F.l1_loss)
BCE = Loss("bce", _bce, (("accuracy", logit_accuracy),))  # from logits
CROSS_ENTROPY = Loss("cross-entropy", F.cross_entropy, (("accuracy", accuracy),))  # from scores of the classes
