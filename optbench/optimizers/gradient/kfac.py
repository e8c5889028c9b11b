"""K-FAC (Martens & Grosse 2015) without inverses: IKFAC of Lin et al. 2024, https://arxiv.org/abs/2312.05705.

The library is singd. The factors are moving averages over minibatches of layers' inputs and of gradients at their
outputs (empirical Fisher); their inverse roots are updated by products alone. For convolutions see Eschenhagen et al.
2023, "expand".
"""

from __future__ import annotations

from typing import Any

from singd.optim.optimizer import SINGD
from torch import Tensor, nn


class KFAC(SINGD):
    """For networks of Linear and Conv2d layers. Raises ValueError for parameters of others."""

    def __init__(
        self,
        params: Any,
        model: nn.Module,
        lr: float = 0.01,
        momentum: float = 0.9,
        damping: float = 0.1,
        weight_decay: float = 0.0,
        every: int = 1,
        renewal: float = 0.1,
    ) -> None:
        """damping: added to the factors. every: steps between their updates. renewal: share of the new minibatch."""
        taken = list(params)
        if type(every) is not int or every < 1:
            raise ValueError(f"every={every!r} is no number of steps: write every=1")
        _check(taken, model)
        super().__init__(
            model,
            taken,
            lr=lr,
            momentum=momentum,
            damping=damping,
            alpha1=0.0,
            weight_decay=weight_decay,
            T=every,
            lr_cov=renewal,
            kfac_like=True,
        )
        self._passed: list[tuple[Any, ...]] = []  # layers, their inputs, and the gradients at their outputs

    def _accumulate_H_terms(self, *passed: Any) -> None:
        """Called within the backward pass, which is the problem's work; what follows from it is the optimizer's own."""
        self._passed.append(passed)

    def step(self) -> None:
        """One step from the latest gradient; the base takes a closure only to refuse it."""
        for passed in self._passed:
            super()._accumulate_H_terms(*passed)
        self._passed.clear()
        super().step()


def _check(parameters: list[Any], model: nn.Module) -> None:
    """Raises ValueError for a parameter that no layer preconditions, and for a layer that lacks a parameter."""
    left = {p.data_ptr() for p in parameters}
    for name, layer in model.named_modules():
        own: list[Tensor] = list(layer.parameters(recurse=False))
        mine = left & {p.data_ptr() for p in own}
        if not mine:
            continue
        kind = type(layer).__name__
        if not isinstance(layer, SINGD.SUPPORTED_MODULES):
            where = name or "the network"
            raise ValueError(
                f"it trains Linear and Conv2d, and {where} is a {kind}: write kfac{{layer=Linear}} + adamw"
            )
        if len(mine) < len(own):
            raise ValueError(f"it trains whole layers, and gets a part of {name}: write kfac{{layer={kind}}} + adamw")
        left -= mine
