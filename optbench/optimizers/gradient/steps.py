"""Steps of a torch optimizer, whether it evaluates its closure or leaves that to the training loop.

torch's own classes call `closure` inside `step(closure)`. Much research code only reads `.grad`: its `step` ignores the
closure, or takes none. There the closure is evaluated before the step, as a training loop does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Steps:
    """One optimizer and its closure. The first step shows whether the class evaluates the closure.

    For that step the closure is evaluated beforehand, and the optimizer's first call gets this answer: no evaluation
    more than the class asks for. Only where it has changed its parameters or gradients before that call, the call is
    answered anew.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> None:
        """closure: leaves the gradients in `.grad` and returns the loss."""
        self._step: Callable[..., Any] = optimizer.step
        self._closure = closure
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._takes_closure = _takes_argument(self._step)
        self._evaluates: bool | None = None if self._takes_closure else False  # None: before the first step

    def take(self) -> None:
        """One step."""
        if self._evaluates:
            self._step(self._closure)
        elif self._evaluates is None:
            self._evaluates = self._first()
        else:
            self._closure()
            if self._takes_closure:
                self._step(self._closure)
            else:
                self._step()

    def _first(self) -> bool:
        """The first step; whether it called the closure."""
        loss = self._closure()
        state = self._state()
        calls = 0

        def answer() -> Any:
            nonlocal calls
            calls += 1
            return loss if calls == 1 and self._state() == state else self._closure()

        self._step(answer)
        return calls > 0

    def _state(self) -> list[tuple[str, str]]:
        """Parameters and gradients in short, as text, so that NaN equals NaN."""
        return [(_digest(p.detach()), _digest(p.grad)) for p in self._parameters]


def _takes_argument(step: Callable[..., Any]) -> bool:
    """Whether step(closure) is a call that it takes; True where its signature cannot be read."""
    try:
        inspect.signature(step).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _digest(tensor: Tensor | None) -> str:
    """Sum and norm: they tell a changed tensor without the memory of a copy."""
    return "none" if tensor is None else f"{float(tensor.sum())!r} {float(tensor.norm())!r}"
