"""Objects of somebody's own session as files that worker processes load: classes, instances, functions.

What no other process can import (a class of a notebook, a lambda, a configured instance) is written down by value with
cloudpickle. Such a file is named like a plugin file, and only the request that wrote it reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import pickle
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

from optbench.core.trial import RequestError

SUFFIX = ".pkl"
MAX_DEPTH = 6  # of what is looked into for a fingerprint


@dataclass(frozen=True)
class Sent:
    """What a file holds. kind: "problem" or "optimizer". origin: module:name of its class or function."""

    name: str
    kind: str
    value: Any
    origin: str
    fingerprint: str
    summary: str = ""


def write(folder: Path, name: str, kind: str, value: Any, origin: str, digest: str) -> Path:
    """Write an object down. digest: its `fingerprint`.

    Raises RequestError for what cannot be sent to another process, with what helps.
    """
    import cloudpickle

    summary = (
        inspect.getdoc(value if inspect.isroutine(value) or inspect.isclass(value) else type(value)) or ""
    ).strip()
    sent = Sent(name, kind, value, origin, digest, summary.split("\n")[0])
    try:
        with _by_value(_modules_of(value)):
            text = cloudpickle.dumps(sent)
    except Exception as error:
        raise RequestError(
            f"{name} cannot be sent to a worker process: {' '.join(str(error).split())[:200]}; open files, locks and "
            "generators belong into the method that uses them"
        ) from None
    path = folder / f"{name}{SUFFIX}"
    path.write_bytes(text)
    return path


def read(file: str) -> Sent:
    """What a file holds. Raises RequestError where this process cannot load it."""
    try:
        found = pickle.loads(Path(file).read_bytes())
    except Exception as error:
        raise RequestError(
            f"{Path(file).stem} cannot be loaded in another process: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}; define it in a module that can be imported"
        ) from None
    if not isinstance(found, Sent):
        raise RequestError(f"{file} holds no problem and no optimizer")
    return found


def fingerprint(value: Any, also: str = "") -> str:
    """12 hexadecimal digits that change with the code and settings of an object, the same in every session.

    also: what else it depends on.
    """
    return hashlib.sha256("\n".join([*_words(value), also]).encode()).hexdigest()[:12]


def _modules_of(value: Any) -> set[str]:
    """The modules, beside `__main__`, that another process cannot import and this value comes from."""
    parts = [value, *(getattr(value, name, None) for name in ("make", "criterion", "cls", "function"))]
    parts += [*getattr(value, "measured", {}).values()]
    heads = {module for one in parts for module in (getattr(one, "__module__", None), type(one).__module__)}
    made = getattr(getattr(value, "make", None), "made_of", None)
    while made is not None:
        heads |= {getattr(made, "__module__", None), type(made).__module__}
        if not hasattr(made, "made_of"):
            break
        made = made.made_of
    if isinstance(made, nn.Module):
        heads |= {type(layer).__module__ for layer in made.modules()}
    return {name for name in heads if isinstance(name, str) and name != "__main__" and not importable(name)}


def importable(name: str) -> bool:
    """Whether a fresh process with this process's path finds the same module; what was loaded otherwise is not."""
    if name.split(".")[0] in sys.builtin_module_names:
        return True
    found, path = None, None
    for k in range(1, name.count(".") + 2):
        try:
            found = PathFinder.find_spec(".".join(name.split(".")[:k]), path)
        except (ImportError, ValueError, AttributeError):
            return False
        if found is None:
            return name.split(".")[0] == "optbench"  # an editable installation has finders of its own
        path = found.submodule_search_locations
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or found is None or found.origin is None or Path(found.origin) == Path(file)


@contextlib.contextmanager
def _by_value(modules: Iterable[str]) -> Iterator[None]:
    import cloudpickle

    registered = []
    for name in modules:
        if (module := sys.modules.get(name)) is not None and name not in cloudpickle.list_registry_pickle_by_value():
            with contextlib.suppress(ValueError):
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _words(value: Any, depth: int = 0) -> Iterator[str]:
    """What a value is made of, as text that is the same in every session: code, settings and shapes, no addresses."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, CodeType):
        yield f"{value.co_code.hex()} {value.co_names}"
        for item in value.co_consts:
            yield from _words(item, depth + 1)
    elif isinstance(value, FunctionType):
        yield from _words(value.__code__, depth + 1)
        for item in (*(value.__defaults__ or ()), *(cell.cell_contents for cell in value.__closure__ or ())):
            yield from _words(item, depth + 1)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        if value.__module__.split(".")[0] not in ("torch", "builtins", "optbench", "numpy"):
            for name, item in sorted(vars(value).items()):
                if name in ("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__"):
                    continue
                yield name
                yield from _words(getattr(item, "__func__", item), depth + 1)
            for base in value.__bases__:
                yield from _words(base, depth + 1)
    elif isinstance(value, nn.Module):
        yield repr(value)
        yield from _words(type(value), depth + 1)
        for layer in sorted({type(one) for one in value.modules()} - {type(value)}, key=str):
            yield from _words(layer, depth + 1)
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}{float(value.detach().double().sum()) if value.numel() else 0}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _words(item, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in sorted(value, key=str) if isinstance(value, set | frozenset) else value:
            yield from _words(item, depth + 1)
    elif isinstance(value, str | int | float | bool | bytes | None):
        yield repr(value)
    else:
        yield from _words(type(value), depth + 1)
        with contextlib.suppress(Exception):
            unseen = {
                name for name, one in getattr(value, "__dataclass_fields__", {}).items() if one.metadata.get("unseen")
            }
            yield from _words({k: item for k, item in sorted(vars(value).items()) if k not in unseen}, depth + 1)
