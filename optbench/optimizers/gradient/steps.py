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
    answered anew. A class that has moved its parameters by then has used gradients that it takes for granted, as
    sharpness-aware minimisation does: for it, the closure is evaluated before every step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> None:
        """closure: leaves the gradients in `.grad` and returns the loss."""
        self._step: Callable[..., Any] = optimizer.step
        self.closure = closure
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._takes_closure = _takes_argument(self._step)
        self._evaluates: bool | None = None if self._takes_closure else False  # None: before the first step
        self._expects = True  # gradients when its step begins

    def take(self) -> None:
        """One step."""
        if self._evaluates and not self._expects:
            self._step(self.closure)
        else:
            self.follow(self.closure())

    def follow(self, loss: Any) -> None:
        """One step after the closure was evaluated with this answer."""
        if self._evaluates is None:
            self._first(loss)
        elif self._evaluates and not self._expects:
            self._step(self._answering(loss))
        elif self._takes_closure:
            self._step(self.closure)
        else:
            self._step()

    def _first(self, loss: Any) -> None:
        """The first step; whether it calls the closure, and whether it has moved by then."""
        state = self._state()
        calls, moved = 0, False

        def answer() -> Any:
            nonlocal calls, moved
            calls += 1
            if calls > 1:
                return self.closure()
            now = self._state()
            moved = [point for point, _ in now] != [point for point, _ in state]
            return loss if now == state else self.closure()

        try:
            self._step(answer)
        except NotImplementedError:  # it has the argument and refuses it
            if calls or self._state() != state:
                raise
            self._takes_closure = self._evaluates = False
            self._step()
            return
        self._evaluates, self._expects = calls > 0, moved or not calls

    def _answering(self, loss: Any) -> Callable[[], Any]:
        """The closure, whose first call is answered already."""
        answers = [loss]
        return lambda: answers.pop() if answers else self.closure()

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
    if tensor is None:
        return "none"
    plain = tensor.detach()
    return f"{float(plain.sum())!r} {float(plain.norm())!r}"
