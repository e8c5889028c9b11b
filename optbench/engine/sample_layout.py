"""Linear layers and cross-entropies whose results lie in memory sample by sample.

torch.vmap alone takes the softmax of ten neighbouring numbers at a time and adds biases in passes of their own. In the
layout (candidate, unit, sample) whatever follows runs along the samples, which are many, and not along the units, which
are few. Everything else is left to vmap.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from optbench.core.problem import Batch

_DEFAULTS = {name: p.default for name, p in signature(F.cross_entropy).parameters.items()}
_IGNORED = _DEFAULTS["ignore_index"]


def columns(batch: Batch) -> Batch:
    """For every table (N, I) of the batch its transpose over a row of ones, (I + 1, N)."""
    return tuple(torch.cat([t.mT, t.new_ones(1, len(t))]) for t in filter(_is_table, batch))


def known_labels(batch: Batch) -> tuple[bool, ...]:
    """Which tensors are class indices, none of them the one that stands for "ignored"."""
    return tuple(tensor.dtype == torch.int64 and not bool((tensor == _IGNORED).any()) for tensor in batch)


class SampleLayout(TorchFunctionMode):
    """Inside it, F.linear and F.cross_entropy on (samples, units) keep their samples side by side in memory."""

    def __init__(self, batch: Batch = (), shared: Batch = (), labels: Batch = ()) -> None:
        """batch: tensors that every candidate shares; shared: their `columns`; labels: those of `known_labels`."""
        super().__init__()
        self._labels = labels
        self._shared = list(zip(filter(_is_table, batch), shared, strict=True))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.linear and not kwargs and len(args) == 3 and args[0].ndim == 2 and args[2] is not None:
            return self._linear(*args)
        if func is F.cross_entropy and len(args) == 2 and _mean_over_samples(args, kwargs):
            return self._cross_entropy(*args)
        return func(*args, **kwargs)

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(N, I), (O, I), (O,) -> (N, O), stored (O, N)."""
        for table, tall in self._shared:
            if x is table:  # the bias rides along as the weight of a row of ones
                return (torch.cat([weight, bias[:, None]], 1) @ tall).mT
        return (weight @ x.mT).add_(bias[:, None]).mT

    def _cross_entropy(self, scores: Tensor, target: Tensor) -> Tensor:
        """(N, C), (N,) -> the mean of -log softmax(scores)[target] over the samples whose target is not -100."""
        # One pass where logsumexp makes six, and one product where a masked mean makes three.
        likely = F.log_softmax(scores.mT, 0)
        if any(target is known for known in self._labels):
            return -likely.gather(0, target[None]).mean()
        counted = (target != _IGNORED).to(likely.dtype)
        right, weights = likely.gather(0, target.clamp(min=0)[None])[0], counted / counted.sum()
        if torch.is_autocast_enabled(scores.device.type):  # where a product would be rounded
            return -(right * weights).sum()
        return -(right @ weights)


def _is_table(tensor: Tensor) -> bool:
    return tensor.ndim == 2 and tensor.is_floating_point()


def _mean_over_samples(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for one class index a sample, without weights or smoothing."""
    usual = all(name in _DEFAULTS and value == _DEFAULTS[name] for name, value in kwargs.items())
    return usual and args[0].ndim == 2 and args[1].ndim == 1 and not args[1].is_floating_point()
