"""What an optimizer asks of its problem beside losses and gradients, which is all that an isolated one is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optbench.optimizers.gradient.probes import is_fused
from optbench.optimizers.gradient.shaping import Shaping


def demand(classes: Iterable[Any], shaping: Shaping, graph: bool, network: bool = False) -> str | None:
    """A phrase, None where losses and gradients are all.

    graph: its gradients must have a graph. network: it asks for the network itself.
    """
    found = list(classes)
    if any(map(is_fused, found)):
        return "it runs the backward pass itself"
    if graph:
        return "it needs second derivatives"
    if any(callable(getattr(cls, "train", None)) and callable(getattr(cls, "eval", None)) for cls in found):
        return "it is scored in a mode of its own"
    if shaping.ema is not None or shaping.swa is not None:
        return "it is scored at an average of its points"
    return "it asks for the network itself" if network else None
