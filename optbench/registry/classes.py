"""Objects in place of names: how what Python code hands over is asked for by a name that any process knows.

A class that can be imported becomes an import path; a configured instance of one, or a torch optimizer, the path with
its settings. Whatever no other process could import is written into a file (`registry.sent`).
"""

from __future__ import annotations

import functools
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import nn

from optbench.core.problem import Problem
from optbench.core.trial import RequestError, spec
from optbench.optimizers.gradient.elementwise import arguments
from optbench.optimizers.gradient.given import Given, Loop
from optbench.registry import sent
from optbench.registry.plugins import MODULE_PREFIX
from optbench.registry.specs import snake

PLAIN = (bool, int, float, str, type(None))


class Named(NamedTuple):
    """Specs, and the files that they need: plugin files, and files of objects."""

    specs: tuple[str, ...]
    files: tuple[str, ...]


class Names:
    """Names of objects for the time of one request; a context that removes the files of objects when it ends."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._taken: dict[str, Any] = {}

    def __enter__(self) -> Names:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Where files of objects lie; made when it is first asked for."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="optbench-"))
        return self._folder

    def of(self, things: Any) -> Named:
        """The specs of names, classes, instances and functions, in their order.

        A mapping gives the names: {"mine": object}. Raises RequestError for what is neither a problem nor an optimizer,
        and for what cannot be sent to a worker process.
        """
        specs, files = [], []
        if isinstance(things, Mapping):
            pairs: list[tuple[str | None, Any]] = [*things.items()]
        else:
            single = isinstance(things, str | type | Problem) or callable(things) or not isinstance(things, Iterable)
            pairs = [(None, thing) for thing in ([things] if single else things)]
        for name, thing in pairs:
            text, file = (thing, None) if isinstance(thing, str) else self._one(name, thing)
            specs.append(text)
            files += [file] if file else []
        return Named(tuple(specs), tuple(dict.fromkeys(files)))

    def _one(self, name: str | None, thing: Any) -> tuple[str, str | None]:
        """(spec, file or None) of one object."""
        if name is None and (found := _by_import(thing)):
            return found
        if isinstance(thing, Problem) or (isinstance(thing, type) and issubclass(thing, Problem)):
            return self._send(name or _called(thing), "problem", thing)
        return self._send(name or _called(thing), "optimizer", _trainer(thing))

    def _send(self, name: str, kind: str, value: Any) -> tuple[str, str]:
        if not re.fullmatch(r"[^\s\[\],:=(){}+/\\]+", name):
            raise RequestError(f"the name {name!r} must be text without blanks, brackets, '+', ':', ',', '/' and '='")
        if name in self._taken:
            if self._taken[name] is not value:
                raise RequestError(f"two objects are called {name!r}; name them: {{'one': ..., 'two': ...}}")
            return name, str(self.folder / f"{name}{sent.SUFFIX}")
        self._taken[name] = value
        digest, origin = sent.fingerprint(value), _origin(value)
        if hasattr(value, "store"):  # own data: in files that workers share
            digest, origin = sent.fingerprint(value, value.checksum()), value.origin
            value = value.store(self.folder)
        return name, str(sent.write(self.folder, name, kind, value, origin, digest))


def _origin(value: Any) -> str:
    whose = getattr(value, "function", value)
    kind = whose if isinstance(whose, type) or hasattr(whose, "__qualname__") else type(whose)
    return f"{kind.__module__}:{kind.__qualname__}"


def _by_import(thing: Any) -> tuple[str, str | None] | None:
    """(spec, plugin file or None) of what another process can import; None for what it cannot."""
    if isinstance(thing, torch.optim.Optimizer):
        thing = _configured(thing)
    if isinstance(thing, functools.partial) and isinstance(thing.func, type) and not thing.args:
        found = _of_class(thing.func)
        plain = all(_is_plain(value) for value in thing.keywords.values())
        return (spec(found[0], thing.keywords), found[1]) if found and plain else None
    if isinstance(thing, type):
        return _of_class(thing)
    if hasattr(type(thing), "__dataclass_fields__") and not hasattr(thing, "store"):
        found = _of_class(type(thing))
        changed = {f.name: getattr(thing, f.name) for f in fields(thing) if getattr(thing, f.name) != f.default}
        if found and all(map(_is_plain, changed.values())):
            return spec(found[0], changed), found[1]
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return type(value) in PLAIN and not (isinstance(value, str) and re.search(r"[\[\](),=\s]", value))


def _configured(optimizer: torch.optim.Optimizer) -> functools.partial[Any]:
    """A torch optimizer as its class with its settings; its parameters are left behind.

    Raises RequestError where its param groups differ.
    """
    cls: Any = type(optimizer)
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    if any(group != groups[0] for group in groups):
        raise RequestError(f"{cls.__name__} has param groups that differ; give a function (parameters) -> optimizer")
    usual = cls([nn.Parameter(torch.zeros(1))]).param_groups[0] if _has_defaults(cls) else {}
    taken = {key: groups[0][key] for key in arguments(cls) if key in groups[0] and groups[0][key] != usual.get(key)}
    return functools.partial(cls, **taken)


def _has_defaults(cls: Any) -> bool:
    try:
        cls([nn.Parameter(torch.zeros(1))])
    except Exception:
        return False
    return True


def _trainer(thing: Any) -> Any:
    """What `minimise` is asked of, from a class, an instance or a function. Raises RequestError."""
    if isinstance(thing, type) and (hasattr(thing, "minimise") or issubclass(thing, torch.optim.Optimizer)):
        return thing
    if hasattr(thing, "minimise"):
        return thing
    if isinstance(thing, torch.optim.Optimizer):
        return Given(_configured(thing))
    if not callable(thing) or isinstance(thing, nn.Module):
        what = thing.__name__ if isinstance(thing, type) else f"{type(thing).__name__} object"
        raise RequestError(
            f"{what} is no problem and no optimizer: an optimizer has minimise(f), is a torch.optim.Optimizer, or a "
            "function (parameters) -> torch optimizer; optbench.problem(model, loss, data) makes a problem"
        )
    return Given(thing) if _makes_optimizers(thing) else Loop(thing)


def _makes_optimizers(function: Callable[..., Any]) -> bool:
    try:
        return isinstance(function([nn.Parameter(torch.zeros(2, 2))]), torch.optim.Optimizer)
    except Exception:
        return False


def _called(thing: Any) -> str:
    """What an object is called: its `name` or `title`, else that of its class or function."""
    for stated in (getattr(thing, "title", None), getattr(thing, "name", None)):
        if isinstance(stated, str) and stated:
            return stated
    if isinstance(thing, functools.partial):
        return _called(thing.func)
    name = getattr(thing, "__name__", type(thing).__name__)
    if name == "<lambda>":
        raise RequestError("a lambda has no name; give a mapping {'name': lambda parameters: ...}")
    return snake(name)


def _of_class(cls: type) -> tuple[str, str | None] | None:
    """(spec, plugin file or None) of one class; None for one that no other process can import."""
    if not (hasattr(cls, "minimise") or issubclass(cls, Problem | torch.optim.Optimizer)):
        raise RequestError(f"{cls.__name__} is neither an optimizer (minimise, or torch.optim.Optimizer) nor a Problem")
    module = sys.modules.get(cls.__module__)
    if "." in cls.__qualname__:
        return None
    if cls.__module__ != "__main__" and not cls.__module__.startswith(MODULE_PREFIX):
        shortest = _shortest(cls)
        importable = sent.importable(cls.__module__) and getattr(module, cls.__name__, None) is cls
        return (f"{shortest}:{cls.__name__}", None) if importable else None
    file = getattr(module, "__file__", None)
    if not file or not file.endswith(".py"):
        return None
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
