"""Fingerprints of source: a record is measured again when the code that decides it has changed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optbench.registry.plugins import MODULE_PREFIX

# Modules of optbench that belong to a method or a problem; the rest of optbench is the same for all of them.
_OWN_SOURCE = ("optbench.problems", "optbench.optimizers", "optbench.core.layers")


def fingerprint(classes: Iterable[Any], also: Iterable[str] = ()) -> str:
    """12 hexadecimal digits that change when the source of any of the classes does (a library's: its version).

    also: fingerprints of objects, which were taken when they were written down.
    """
    digest = hashlib.sha256()
    for cls in classes:
        digest.update(_source(cls))
    for text in also:
        digest.update(text.encode())
    return digest.hexdigest()[:12]


def _source(cls: Any) -> bytes:
    """The source that decides what the class does: its module and the optbench modules that one draws on."""
    module = sys.modules[cls.__module__]
    package = cls.__module__.split(".")[0]
    if package != "optbench" and not cls.__module__.startswith(MODULE_PREFIX):
        named = f"{cls.__module__}:{cls.__qualname__} {getattr(sys.modules[package], '__version__', '')}".encode()
        file = None if package == "torch" else getattr(module, "__file__", None)
        return named + (Path(file).read_bytes() if file and file.endswith(".py") else b"")
    used = {getattr(item, "__module__", None) or getattr(item, "__name__", "") for item in vars(module).values()}
    names = {module.__name__} | {name for name in used if isinstance(name, str) and name.startswith(_OWN_SOURCE)}
    files = [sys.modules[name].__file__ for name in sorted(names) if name in sys.modules]
    return b"".join(Path(file).read_bytes() for file in files if file)
