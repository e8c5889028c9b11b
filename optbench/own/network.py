"""A fresh network for every seed, from a module, a class or a function that makes one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from optbench.core.trial import RequestError

STARTS = ("fresh", "given")


def factory(model: Any, start: str) -> Callable[[], nn.Module]:
    """What makes a network, drawn anew from torch's global generator at every call. Raises RequestError.

    model: an nn.Module class, a function without arguments, or a module. start: "fresh" initialises a module again by
    its layers' own `reset_parameters`; "given" starts every seed from the weights it has, as fine-tuning does.
    """
    if start not in STARTS:
        raise RequestError(f"start={start!r} is none of {', '.join(STARTS)}")
    if isinstance(model, nn.Module):
        if start == "fresh" and (left := _not_reset(model)):
            raise RequestError(
                f"the parameter {left[0]!r} of this module has no reset_parameters, so it cannot be drawn anew for "
                f"every seed; give the class or a function that builds it (lambda: {type(model).__name__}(...)), or "
                "start='given' for its own weights"
            )
        return _Copies(model, start == "fresh")
    if not callable(model):
        raise RequestError(f"the model is a {type(model).__name__}; give an nn.Module, its class or a function")
    return _Made(model)


class _Copies:
    """Copies of a module."""

    def __init__(self, module: nn.Module, anew: bool) -> None:
        self.made_of, self.anew = copy.deepcopy(module).train(), anew

    def __call__(self) -> nn.Module:
        module = copy.deepcopy(self.made_of)
        if self.anew:
            for layer in module.modules():
                reset: Any = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
                if callable(reset):
                    reset()
        return _trainable(module)


class _Made:
    """What somebody's function gives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.made_of = make

    def __call__(self) -> nn.Module:
        module = self.made_of()
        if not isinstance(module, nn.Module):
            raise RequestError(f"the model function returns a {type(module).__name__}, it must return an nn.Module")
        return _trainable(module)


def _not_reset(module: nn.Module) -> list[str]:
    """Parameters that no layer's reset covers."""
    covered: set[int] = set()
    for layer in module.modules():
        if callable(getattr(layer, "reset_parameters", None)):
            covered |= {id(p) for p in layer.parameters(recurse=False)}
        elif callable(getattr(layer, "_reset_parameters", None)):
            covered |= {id(p) for p in layer.parameters()}
    return [name for name, p in module.named_parameters() if id(p) not in covered]


def _trainable(module: nn.Module) -> nn.Module:
    """Parameters that are frozen become buffers: no optimizer moves them, and they are no dimension."""
    for layer in module.modules():
        for name, p in [*layer.named_parameters(recurse=False)]:
            if not p.requires_grad:
                delattr(layer, name)
                layer.register_buffer(name, p.detach())
    return module
