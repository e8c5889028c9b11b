"""Traced steps that outlive the model they were traced for: the next one of its kind needs no tracing."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from optbench.engine.compile.trace import Traced

MAX_KEPT = 6  # traced steps of a thread, the latest: each keeps its buffers, some MiB to some ten


class _Kept(threading.local):
    """A thread's own, for a traced step is not for two threads at once: the latest last."""

    def __init__(self) -> None:
        self.steps: OrderedDict[Hashable, Traced] = OrderedDict()


_kept = _Kept()


def shared(key: Hashable, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """The traced step that this thread made for an equal key; else `make()`, which is kept where it may be shared.

    key: all that the step depends on beside its inputs, and their shapes. A step that refers to tensors other than its
    inputs, or that was not traced, is made anew each time: those tensors may be another model's.
    """
    found: Callable[..., Any] | None = _kept.steps.get(key)
    if found is None:
        found = make()
        if isinstance(found, Traced) and found.is_closed:
            _kept.steps[key] = found
            while len(_kept.steps) > MAX_KEPT:
                _kept.steps.popitem(last=False)
    else:
        _kept.steps.move_to_end(key)
    return found
