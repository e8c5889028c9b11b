"""Names to things: import paths, plugin files and installed packages become problems and optimizers."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from optbench.core.objective import Objective
from optbench.core.problem import ORACLES, TRACKS, Problem
from optbench.core.trial import RequestError, spec
from optbench.optimizers import OPTIMIZERS, Entry, Space
from optbench.problems import PROBLEMS
from optbench.problems import Entry as ProblemEntry
from optbench.registry.settings import adapt, construct
from optbench.registry.specs import nearest, one_line, parse, snake

OURS = ("optbench", "torch")  # packages whose optimizers leave nothing behind in a process that others use after them


class Optimizer(Protocol):
    """Anything with `minimise(f)`; a frozen dataclass whose fields are its hyper-parameters."""

    needs: ClassVar[str]  # the door it uses: "value", "grad" or "exact"

    def minimise(self, f: Objective) -> None:
        """Train until `f` raises Stop, or return when done."""


class Built(NamedTuple):
    """An optimizer with what the runner has to know of it."""

    optimizer: Optimizer
    needs: str
    lanes: bool  # axis 0 may be independent trials
    batch: int | str | None  # "full", a size, or None for the problem's own


class Catalog:
    """Everything that can be asked for by name: the tables, installed plugins and the given plugin files.

    Raises RequestError for a plugin file that does not import or holds neither an optimizer nor a problem.
    """

    def __init__(self, files: Iterable[str] = ()) -> None:
        self.files = tuple(dict.fromkeys(str(Path(file).resolve()) for file in files))
        self.optimizers: dict[str, Entry] = dict(OPTIMIZERS)
        self.problems: dict[str, ProblemEntry] = dict(PROBLEMS)
        self._classes: dict[str, type] = {}
        for point in importlib.metadata.entry_points(group="optbench.optimizers"):
            self.optimizers.setdefault(point.name, Entry(point.value, "plugin", f"from {point.value}"))
        for point in importlib.metadata.entry_points(group="optbench.problems"):
            self.problems.setdefault(point.name, ProblemEntry(point.value, {}, "", f"from {point.value}"))
        for file in self.files:
            self._add(file)

    def problem(self, text: str) -> Problem:
        """The problem of a spec. Raises RequestError."""
        (name, settings), *more = parse(text)
        if more:
            raise RequestError(f"{text!r} names several problems, write them one by one")
        entry = self.problems.get(name)
        if entry is None and ":" not in name:
            raise RequestError(f"unknown problem {name!r}, {nearest(name, self.problems)}")
        path, given = (entry.path, dict(entry.settings)) if entry else (name, {})
        cls = self._load(path)
        if not (isinstance(cls, type) and issubclass(cls, Problem)):
            raise RequestError(f"{path} is no subclass of optbench.core.problem.Problem")
        built: Problem = construct(cls, {**given, **settings}, text)
        if built.track not in TRACKS:
            raise RequestError(f"{text}: track {built.track!r} is none of {', '.join(TRACKS)}")
        return built

    def optimizer(self, name: str, hyper: Mapping[str, Any]) -> Built:
        """The optimizer of a name with settings. Raises RequestError."""
        entry = self.optimizers.get(name)
        if entry is None and ":" not in name:
            raise RequestError(f"unknown optimizer {name!r}, {nearest(name, self.optimizers)}")
        path, given = (entry.path, dict(entry.settings)) if entry else (name, {})
        cls = self._load(path)
        settings = {**given, **hyper}
        batch = settings.pop("batch", None)
        if batch not in (None, "full") and not (type(batch) is int and batch > 0):
            raise RequestError(f"{spec(name, hyper)}: batch={batch!r} is neither a positive number nor 'full'")
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
            adapter = adapt(cls, settings, spec(name, hyper))
            return Built(adapter, adapter.needs, adapter.lanes, batch)
        if not hasattr(cls, "minimise"):
            raise RequestError(f"{path} has no minimise(f) and is no torch.optim.Optimizer")
        built = construct(cls, settings, spec(name, hyper))
        needs = getattr(built, "needs", None)
        if needs not in ORACLES:
            raise RequestError(f"{path} must state needs = one of {', '.join(ORACLES)}, not {needs!r}")
        if getattr(built, "full_batch", False):
            if batch not in (None, "full"):
                raise RequestError(f"{spec(name, hyper)}: this method runs on the full batch only")
            batch = "full"
        return Built(built, needs, bool(getattr(built, "lanes", False)), batch)

    def space(self, name: str) -> Space:
        """The search space of an optimizer: the table's, else what its class declares as `space`, else an empty one."""
        entry = self.optimizers.get(name)
        if entry and entry.space:
            return entry.space
        declared = getattr(self._load(entry.path if entry else name), "space", None)
        return declared if isinstance(declared, Mapping) else {}

    def family(self, name: str) -> str:
        entry = self.optimizers.get(name)
        if entry:
            return entry.family
        return "gradient" if issubclass(self._load(name), torch.optim.Optimizer) else "plugin"

    def fingerprint(self, problem: str, optimizer: str) -> str:
        """12 digits that change when the source of either changes (for a library's class, its version)."""
        digest = hashlib.sha256()
        for cls in self._classes_of(problem, optimizer):
            digest.update(_sources(cls))
        return digest.hexdigest()[:12]

    def third_party(self, problem: str, optimizer: str) -> tuple[str, ...]:
        """The classes of a trial that are neither optbench's nor torch's, and may leave its process changed."""
        names = [f"{cls.__module__}:{cls.__qualname__}" for cls in self._classes_of(problem, optimizer)]
        return tuple(name for name in names if name.split(".")[0] not in OURS)

    def _classes_of(self, problem: str, optimizer: str) -> tuple[Any, Any]:
        name = parse(problem)[0][0]
        entry, tool = self.problems.get(name), self.optimizers.get(optimizer)
        return self._load(entry.path if entry else name), self._load(tool.path if tool else optimizer)

    def _add(self, file: str) -> None:
        module = load_file(file)
        own = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
        found = [cls for cls in dict.fromkeys(own) if not cls.__name__.startswith("_")]
        known = 0
        for cls in found:
            name = getattr(cls, "name", None) or snake(cls.__name__)
            summary = (cls.__doc__ or "").strip().split("\n")[0] or f"from {Path(file).name}"
            path = f"{file}:{cls.__name__}"
            if issubclass(cls, Problem):
                _free(name, self.problems, path)
                self.problems[name] = ProblemEntry(path, {}, getattr(cls, "track", ""), summary)
            elif hasattr(cls, "minimise") or issubclass(cls, torch.optim.Optimizer):
                _free(name, self.optimizers, path)
                self.optimizers[name] = Entry(path, "plugin", summary)
            else:
                continue
            self._classes[path] = cls
            known += 1
        if not known:
            raise RequestError(f"plugin {file}: defines no optimizer (a class with minimise) and no Problem")

    def _load(self, path: str) -> Any:
        if path in self._classes:
            return self._classes[path]
        head, _, attribute = path.rpartition(":")
        if not head:
            raise RequestError(f"{path!r} is no import path, write module:Class")
        if head.endswith(".py"):
            module = load_file(head)
        else:
            try:
                module = importlib.import_module(head)
            except (Exception, SystemExit) as error:
                raise RequestError(f"cannot import {head!r} for {path!r}: {one_line(error)}") from None
        if not hasattr(module, attribute):
            raise RequestError(f"{head} has no {attribute!r}, {nearest(attribute, vars(module))}")
        self._classes[path] = getattr(module, attribute)
        return self._classes[path]


def load_file(file: str) -> ModuleType:
    """A plugin file as a module of its own. Raises RequestError with the reason."""
    path = Path(file)
    if not path.is_file():
        raise RequestError(f"plugin {file}: {'a folder, not a Python file' if path.is_dir() else 'no such file'}")
    name = f"optbench_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise RequestError(f"plugin {file}: not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise RequestError(f"plugin {file} does not import: {one_line(error)}") from None
    return module


def _free(name: Any, taken: Mapping[str, Entry | ProblemEntry], path: str) -> None:
    """Raise RequestError unless a plugin's class may have this name: two of one name would share their records."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\s\[\],:=]+", name):
        raise RequestError(f"{path}: name = {name!r} must be text without blanks, brackets, commas, colons or '='")
    if name in taken:
        raise RequestError(f"{path}: the name {name!r} is that of {taken[name].path}; give the class another `name`")


def _sources(cls: Any) -> bytes:
    """The source that decides what the class does: its module and the optbench modules that one draws on."""
    module = sys.modules[cls.__module__]
    package = cls.__module__.split(".")[0]
    if package != "optbench" and not cls.__module__.startswith("optbench_plugin"):
        told = f"{cls.__module__}:{cls.__qualname__} {getattr(sys.modules[package], '__version__', '')}".encode()
        file = None if package == "torch" else getattr(module, "__file__", None)
        return told + (Path(file).read_bytes() if file and file.endswith(".py") else b"")
    used = {getattr(item, "__module__", None) or getattr(item, "__name__", "") for item in vars(module).values()}
    ours = ("optbench.problems", "optbench.optimizers", "optbench.core.layers")
    names = {module.__name__} | {name for name in used if isinstance(name, str) and name.startswith(ours)}
    parts = [sys.modules[name].__file__ for name in sorted(names) if name in sys.modules]
    return b"".join(Path(part).read_bytes() for part in parts if part)
