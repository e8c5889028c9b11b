"""Plugin files: a Python file of a user's own as a module, and the optimizers and problems that it defines."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from optbench.core.trial import RequestError
from optbench.registry.specs import one_line, snake

MODULE_PREFIX = "optbench_plugin"  # of the modules that plugin files become
_loading: ContextVar[bool] = ContextVar("loading", default=False)


class _SourceLoader(SourceFileLoader):
    """Compiles the file at every call. Python's cache takes a file for unchanged that has the same second and size."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


class RunReached(BaseException):
    """A plugin file that is a script has come to its own call of `optbench.run`: what it defines is defined by then."""


def refuse_run_while_loading() -> None:
    """Raises RunReached inside a plugin file that is being loaded; else does nothing. Called first by a run."""
    if _loading.get():
        raise RunReached


def load_file(file: str) -> ModuleType:
    """A plugin file as a module of its own, executed again at every call.

    A script that calls `optbench.run` is executed up to that call, so that the classes above it can be used without
    an `if __name__ == "__main__"`. Raises RequestError with the reason where the file does not import.
    """
    path = Path(file)
    if not path.is_file():
        raise RequestError(f"plugin {file}: {'a folder, not a Python file' if path.is_dir() else 'no such file'}")
    name = f"{MODULE_PREFIX}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    if found is None or found.loader is None:
        raise RequestError(f"plugin {file}: not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with _no_runs():
            found.loader.exec_module(module)
    except RunReached:
        pass
    except (Exception, SystemExit) as error:
        raise RequestError(f"plugin {file} does not import: {one_line(error)}") from None
    return module


def public_classes(module: ModuleType) -> list[type]:
    """The classes that a module itself defines, each once, in its own order; names that begin with _ are left out."""
    own = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    return [cls for cls in dict.fromkeys(own) if not cls.__name__.startswith("_")]


def plugin_name(cls: type, taken: Mapping[str, Any], path: str) -> str:
    """What a plugin's class is asked for by: its `name`, else its class name in snake case.

    taken: {name: entry with a `path`} of what there is already. Raises RequestError for a name that is no name, or is
    taken: two of one name would share their records.
    """
    name = getattr(cls, "name", None) or snake(cls.__name__)
    if not isinstance(name, str) or not re.fullmatch(r"[^\s\[\],:=]+", name):
        raise RequestError(f"{path}: name = {name!r} must be text without blanks, brackets, commas, colons or '='")
    if name in taken:
        raise RequestError(f"{path}: the name {name!r} is that of {taken[name].path}; give the class another `name`")
    return name


@contextmanager
def _no_runs() -> Iterator[None]:
    before = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(before)
