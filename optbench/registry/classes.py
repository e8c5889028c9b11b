"""Classes in place of names: how a class that Python code hands over is asked for by a name that any process knows."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from optbench.core.problem import Problem
from optbench.core.trial import RequestError
from optbench.registry.plugins import MODULE_PREFIX
from optbench.registry.specs import snake


class Named(NamedTuple):
    """Specs, and the plugin files that they need."""

    specs: tuple[str, ...]
    files: tuple[str, ...]


def named(things: Iterable[Any]) -> Named:
    """The specs of names and classes, in their order.

    A class of an importable module becomes an import path; one of the script that runs, the name that it has with the
    script as a plugin file. Raises RequestError for what no other process could be told: an object, a class defined
    inside a function or in an interactive session.
    """
    specs, files = [], []
    for thing in (things,) if isinstance(things, str | type) else things:
        if isinstance(thing, str):
            specs.append(thing)
            continue
        spec, file = _of_class(thing)
        specs.append(spec)
        files += [file] if file else []
    return Named(tuple(specs), tuple(dict.fromkeys(files)))


def _of_class(cls: Any) -> tuple[str, str | None]:
    """(spec, plugin file or None) of one class."""
    if not isinstance(cls, type):
        name = type(cls).__name__
        raise RequestError(f"{cls!r} is an object, give the class {name}, or text like '{snake(name)}[setting=value]'")
    if not (hasattr(cls, "minimise") or issubclass(cls, Problem | torch.optim.Optimizer)):
        raise RequestError(f"{cls.__name__} is neither an optimizer (minimise, or torch.optim.Optimizer) nor a Problem")
    if "." in cls.__qualname__:
        raise RequestError(f"{cls.__qualname__} is defined inside a function or class; move it to the top of its file")
    module = sys.modules.get(cls.__module__)
    if cls.__module__ != "__main__" and not cls.__module__.startswith(MODULE_PREFIX):
        return f"{_shortest(cls)}:{cls.__name__}", None
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        raise RequestError(
            f"{cls.__name__} is defined in an interactive session, which worker processes cannot see; "
            "write it into a file and import it, or give the file as a plugin"
        )
    stated = getattr(cls, "name", None)
    return (stated if isinstance(stated, str) else snake(cls.__name__)), file


def _shortest(cls: type) -> str:
    """The shortest package that offers the class under its own name: "torch.optim", not "torch.optim.adam"."""
    parts = cls.__module__.split(".")
    for count in range(1, len(parts)):
        package = ".".join(parts[:count])
        if getattr(sys.modules.get(package), cls.__name__, None) is cls:
            return package
    return cls.__module__
