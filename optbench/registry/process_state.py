"""What code of others can change in its process: seen, and put back where it ran in a process that others use.

Generators are not part of what is seen: every trial seeds its own. What is new (a module imported at its first use) is
no change.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

# Modules whose functions and classes decide results; a name in one of them that means something else is a change.
_WATCHED = ("torch.nn.functional", "torch.nn.init", "torch", "torch.nn", "numpy", "math", "random", "time", "builtins")
_WATCHED_PACKAGES = ("optbench", "torch.optim", "torch.nn.modules")
_PLAIN = (type, FunctionType, BuiltinFunctionType, staticmethod, classmethod, property)
_MISSING = object()
_REPLACED_BY_TORCH = (("torch", "manual_seed"),)  # when the compiler front end is first imported


class ProcessState:
    """The state of this process when this was made."""

    def __init__(self) -> None:
        self._settings = {name: get() for name, (get, _) in _SETTINGS.items()}
        self._generators = torch.get_rng_state(), random.getstate(), np.random.get_state()
        self._names = dict(_names())

    def changes(self) -> list[str]:
        """What is another thing now than it was then, a few words each."""
        found = [name for name, (get, _) in _SETTINGS.items() if get() != self._settings[name]]
        return found + [f"{owner.__name__}.{name}" for owner, name, _ in self._replaced()]

    def restore(self) -> None:
        """Put everything back as it was then, generators included."""
        for name, (get, put) in _SETTINGS.items():
            if get() != self._settings[name]:
                put(self._settings[name])
        for owner, name, value in [*self._replaced()]:
            setattr(owner, name, value)
        torch.set_rng_state(self._generators[0])
        random.setstate(self._generators[1])
        np.random.set_state(self._generators[2])

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        for (_, name), (owner, value) in self._names.items():
            if vars(owner).get(name, _MISSING) is not value:
                yield owner, name, value


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Whatever runs meanwhile leaves the settings, functions and generators of this process as they were."""
    before = ProcessState()
    try:
        yield
    finally:
        before.restore()


def _names() -> Iterator[tuple[tuple[int, str], tuple[Any, Any]]]:
    """((id of the owner, name), (owner, value)) of every function and class of the watched modules and classes."""
    for module in _modules():
        for name, value in [*vars(module).items()]:
            if isinstance(value, _PLAIN) and (module.__name__, name) not in _REPLACED_BY_TORCH:
                yield (id(module), name), (module, value)
                if isinstance(value, type) and value.__module__ == module.__name__:
                    for attribute, item in [*vars(value).items()]:
                        if isinstance(item, _PLAIN):
                            yield (id(value), attribute), (value, item)


def _modules() -> list[ModuleType]:
    names = [name for name in [*sys.modules] if name in _WATCHED or name.startswith(_WATCHED_PACKAGES)]
    own = ("optbench.registry.process_state",)
    return [sys.modules[name] for name in names if name not in own and isinstance(sys.modules[name], ModuleType)]


def _put_environment(before: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in before]:
        del os.environ[name]
    os.environ.update(before)


def _put_device(before: str) -> None:
    torch.set_default_device(None if before == "cpu" else before)  # a mode that is set costs time at every call


def _put_filters(before: list[Any]) -> None:
    warnings.filters[:] = before  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]  # the documented functions can only add


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def _leave(before: Any) -> None:
    """What nobody can put back from here; the process is replaced."""


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _put_folder(before: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(before)


_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (lambda: str(torch.get_default_device()), _put_device),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "whether gradients are recorded": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "anomaly detection": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "the precision of products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "numpy's handling of errors": (np.geterr, lambda before: np.seterr(**before)),
    "the environment": (lambda: dict(os.environ), _put_environment),
    "the working directory": (_folder, _put_folder),
    "the threads": (lambda: {thread.ident for thread in threading.enumerate()}, _leave),
    "the handling of signals": (_handlers, _leave),
    "the warning filters": (lambda: [*warnings.filters], _put_filters),
}
