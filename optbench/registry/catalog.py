"""The catalog: names, import paths, plugin files and installed packages become problems and optimizers."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from optbench.core.divided import divided, divides
from optbench.core.objective import Objective
from optbench.core.problem import FULL, ORACLES, PRECISIONS, TRACKS, Problem, fresh
from optbench.core.trial import RequestError, spec
from optbench.core.user_files import checksum
from optbench.optimizers import ADAPTERS, OPTIMIZERS, Entry, Space
from optbench.optimizers.gradient.combination import Combination, Part
from optbench.optimizers.gradient.elementwise import arguments
from optbench.problems import PROBLEMS
from optbench.problems import Entry as ProblemEntry
from optbench.registry import fingerprints, sent
from optbench.registry.expressions import Part as Combined
from optbench.registry.expressions import is_combination, read
from optbench.registry.plugins import load_file, plugin_name, public_classes
from optbench.registry.process_state import unchanged_process
from optbench.registry.settings import adapt, construct, part, shaping, without_shaping
from optbench.registry.specs import nearest, one_line, parse

Kind = tuple[tuple[str, ...], tuple[str, ...]]  # of a process: the third-party classes and the plugin files in it

OWN_PACKAGES = ("optbench", "torch")  # their optimizers leave nothing behind in a process that others use after them
_NOT_RUN_BY_A_CALL = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
STANDARD_SPACE: Space = OPTIMIZERS["adam"].space  # of a torch optimizer class with a learning rate, as of Adam and SGD


class Optimizer(Protocol):
    """Anything with `minimise(f)`; a frozen dataclass whose fields are its hyper-parameters."""

    needs: ClassVar[str]  # the oracle it uses: "value", "grad" or "exact"

    def minimise(self, f: Objective) -> None:
        """Train until `f` raises Stop, or return when done."""


class Built(NamedTuple):
    """An optimizer with what the runner has to know of it."""

    optimizer: Optimizer
    needs: str
    lanes: bool  # axis 0 may be independent trials
    batch: int | str | None  # "full", a size, or None for the problem's own
    precision: str = FULL  # of its evaluations: "float32" or "bf16"


class Catalog:
    """Everything that can be asked for by name: the tables, installed plugins and the given plugin files.

    Raises RequestError for a plugin file that does not import or holds neither an optimizer nor a problem.
    More than ten public methods: each answers one question about a name.
    """

    def __init__(
        self, files: Iterable[str] = (), guarded: bool = False, moved: Mapping[str, str] | None = None
    ) -> None:
        """guarded: what the code of others changes in this process while it is imported or constructed is put back.

        moved: {path of a Python file as names have it: where it is on this machine}, of files that were sent here.
        """
        self._moved = moved or {}
        self._guard: Callable[[], AbstractContextManager[None]] = unchanged_process if guarded else nullcontext
        self.files = tuple(dict.fromkeys(str(Path(file).resolve()) for file in files))
        self.optimizers: dict[str, Entry] = dict(OPTIMIZERS)
        self.problems: dict[str, ProblemEntry] = dict(PROBLEMS)
        self._classes: dict[str, Any] = {}
        self._sent: dict[str, sent.Sent] = {}
        for point in importlib.metadata.entry_points(group="optbench.optimizers"):
            self.optimizers.setdefault(point.name, Entry(point.value, "plugin", f"from {point.value}"))
        for point in importlib.metadata.entry_points(group="optbench.problems"):
            self.problems.setdefault(point.name, ProblemEntry(point.value, {}, "", f"from {point.value}"))
        for file in self.files:
            self._add(file)

    def divides(self, text: str) -> bool:
        """Whether there are several splits of a problem's data, so that chance divides them. Raises RequestError."""
        problem = self.problem(text)
        with self.guarding(type(problem)):
            try:
                return divides(problem)
            except Exception as error:
                raise RequestError(f"problem {text}: {one_line(error)}") from None

    def problem(self, text: str, split: int = 0) -> Problem:
        """The problem of a spec, on one split of its data: the one that it states is 0. Raises RequestError."""
        return divided(self._stated(text), split)

    def _stated(self, text: str) -> Problem:
        (name, settings), *more = parse(text)
        if more:
            raise RequestError(f"{text!r} names several problems, write them one by one")
        entry = self.problems.get(name)
        if entry is None and ":" not in name:
            raise RequestError(f"unknown problem {name!r}, {nearest(name, self.problems)}")
        path, given = (entry.path, dict(entry.settings)) if entry else (name, {})
        cls = self._load(path)
        if isinstance(cls, Problem):  # an object of somebody's session, as it is
            if given or settings:
                raise RequestError(f"{text}: {name} is an object and takes no settings")
            return cls
        if not (isinstance(cls, type) and issubclass(cls, Problem)):
            raise RequestError(f"{path} is no subclass of optbench.core.problem.Problem")
        with self.guarding(cls):
            built: Problem = construct(cls, {**given, **settings}, text, path not in self._sent)
        if built.track not in TRACKS:
            raise RequestError(f"{text}: track {built.track!r} is none of {', '.join(TRACKS)}")
        return built

    def optimizer(self, name: str, hyper: Mapping[str, Any]) -> Built:
        """The optimizer of a name with settings. Raises RequestError."""
        path, given = self._found(name)
        if is_combination(path):
            return self._combination(path, {**given, **{_numbered(key): value for key, value in hyper.items()}}, name)
        cls = self._load(path)
        settings = {**given, **hyper}
        batch, precision = _batch(settings, spec(name, hyper)), _precision(settings, spec(name, hyper))
        if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
            with self.guarding(cls):
                adapter = adapt(cls, settings, spec(name, hyper))
            return Built(adapter, adapter.needs, adapter.lanes, batch, precision)
        if not hasattr(cls, "minimise"):
            raise RequestError(f"{path} has no minimise(f) and is no torch.optim.Optimizer")
        if any(kind(getattr(cls, "function", cls.minimise)) for kind in _NOT_RUN_BY_A_CALL):
            raise RequestError(f"{path}: minimise is a generator or coroutine; a call of it trains nothing")
        if isinstance(cls, type):
            with self.guarding(cls):
                built = construct(cls, settings, spec(name, hyper), path not in self._sent)
        else:
            built = cls  # an object of somebody's session, as it is
            if settings:
                raise RequestError(f"{spec(name, hyper)}: {name} is an object and takes no settings")
        needs = getattr(built, "needs", None)
        if needs not in ORACLES:
            raise RequestError(f"{path} must state needs = one of {', '.join(ORACLES)}, not {needs!r}")
        if getattr(built, "full_batch", False):
            if batch not in (None, "full"):
                raise RequestError(f"{spec(name, hyper)}: this method runs on the full batch only")
            batch = "full"
        return Built(built, needs, bool(getattr(built, "lanes", False)), batch, precision)

    def ungrouped_reason(self, problem: str, optimizer: str, hyper: Mapping[str, Any]) -> str | None:
        """Why the parts of a combination cannot share out the parameters of a problem's network; None where they can.

        Raises RequestError.
        """
        combination = self.optimizer(optimizer, hyper).optimizer
        assert isinstance(combination, Combination)
        return combination.ungrouped_reason(fresh(self.problem(problem), 0)[0])

    def _found(self, name: str) -> tuple[str, dict[str, Any]]:
        """The import path or combination of a name, and the settings that the table gives it."""
        entry = self.optimizers.get(name)
        if entry is None and not (":" in name or is_combination(name)):
            raise RequestError(f"unknown optimizer {name!r}, {nearest(name, self.optimizers)}")
        return (entry.path, dict(entry.settings)) if entry else (name, {})

    def _combination(self, path: str, settings: Mapping[str, Any], name: str) -> Built:
        """The optimizer of `A + B` or `W(A)`; settings: "2.lr" for the second name in it."""
        numbers = itertools.count(1)
        own: list[dict[str, Any]] = []
        for number, _ in enumerate(_names(path), 1):
            start = f"{number}."
            own.append({key.removeprefix(start): value for key, value in settings.items() if key.startswith(start)})
        if lost := [key for key in settings if not 0 < int(key.partition(".")[0]) <= len(own)]:
            raise RequestError(f"{spec(name, settings)}: {lost[0]!r} is a setting of no part, write 1.lr for the first")
        batches = {batch for one in own if (batch := _batch(one, spec(name, settings))) is not None}
        if len(batches) > 1:
            raise RequestError(f"{spec(name, settings)}: the parts share one minibatch, write batch once")
        precisions = {_precision(one, spec(name, settings)) for one in own} - {FULL}

        shaped: list[tuple[Any, dict[str, Any]]] = []

        def built(one: Combined) -> Part:
            found, given = self._found(one.head)
            if is_combination(found):
                raise RequestError(f"{one.head!r} is a combination itself, write its parts: {found}")
            chosen = own[next(numbers) - 1]
            text = spec(one.head, chosen)
            cls = self._load(found)
            if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
                raise RequestError(f"{text}: {one.head} is no torch optimizer, combine classes as adamw + sgd")
            base = built(one.base) if one.base else None
            shaped.append((cls, chosen))
            with self.guarding(cls):
                return part(cls, without_shaping(cls, {**given, **chosen}), text, base, one.rule)

        parts = tuple(built(one) for one in read(path))
        adapter = Combination(parts, shaping(shaped, spec(name, settings)))
        return Built(adapter, adapter.needs, adapter.lanes, next(iter(batches), None), next(iter(precisions), FULL))

    def space(self, name: str) -> Space:
        """The search space of an optimizer: the table's, else what its class declares as `space`.

        A torch optimizer class that is in no table of ours and takes `lr` has STANDARD_SPACE. Any other has none, {}.
        """
        entry = self.optimizers.get(name)
        if entry and entry.space:
            return entry.space
        if entry is None and is_combination(name):
            spaces = [self.space(one) for one in _names(name)]
            return {f"{k}.{key}": values for k, space in enumerate(spaces, 1) for key, values in space.items()}
        cls = self._load(entry.path if entry else name)
        declared = getattr(cls, "space", None)
        if isinstance(declared, Mapping):
            return declared
        of_torch = name not in OPTIMIZERS and isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)
        return STANDARD_SPACE if of_torch and "lr" in arguments(cls) else {}

    def family(self, name: str) -> str:
        """The family of an optimizer as a report groups them; "plugin" for a class of somebody's own."""
        entry = self.optimizers.get(name)
        if entry:
            return entry.family
        if is_combination(name):
            return "gradient"
        return "gradient" if issubclass(self._load(name), torch.optim.Optimizer) else "plugin"

    def fingerprint(self, problem: str, optimizer: str) -> str:
        """12 hexadecimal digits that change when the source of either does (for a library's class, its version), or the
        data that a user's files hold."""
        names = (problem, optimizer)
        also = [one.fingerprint for one in self._sent_of(*names)]
        if files := self._data_files(problem):
            also.append(checksum(files))
        return fingerprints.fingerprint(self._classes_of(*names), also)

    def _data_files(self, problem: str) -> tuple[Path, ...]:
        """Of a user, which the problem reads its data from."""
        name = parse(problem)[0][0]
        cls = self._load(self.problems[name].path if name in self.problems else name)
        if getattr(cls, "data_files", Problem.data_files) is Problem.data_files:
            return ()
        with self.guarding(cls):
            return tuple(self._stated(problem).data_files)

    def third_party(self, problem: str, optimizer: str) -> tuple[str, ...]:
        """The classes of a trial that are neither optbench's nor torch's, and may leave its process changed."""
        names = [self._origin(path) for path in self._paths_of(problem, optimizer)]
        return tuple(name for name in names if name.split(".")[0] not in OWN_PACKAGES)

    def sources(self, problem: str, optimizer: str) -> tuple[str, tuple[str, ...], tuple[str, ...], Kind | None]:
        """Of a trial's code: its fingerprint, its third-party classes, its plugin files, and who scores it again."""
        names = problem, optimizer
        return self.fingerprint(*names), self.third_party(*names), self.files_of(*names), self.scorer(*names)

    def scorer(self, problem: str, optimizer: str) -> Kind | None:
        """What a process imports that scores the points of a third-party optimizer again: its problem alone.

        None for optimizers of optbench and torch, and where the problem stands in the optimizer's own module: who
        writes both decides what is true.
        """
        first, *others = (self._origin(path) for path in self._paths_of(problem, optimizer))
        strangers = {one.partition(":")[0] for one in others if one.split(".")[0] not in OWN_PACKAGES}
        if not strangers or first.partition(":")[0] in strangers:
            return None
        own = first.split(".")[0] in OWN_PACKAGES
        entry = self.problems.get(parse(problem)[0][0])
        file = entry.path.rpartition(":")[0] if entry else ""
        return () if own else (first,), (file,) if file in self.files else ()

    def _origin(self, path: str) -> str:
        """module:name of what a path stands for; of an object, that of its class or function."""
        if path in self._sent:
            return self._sent[path].origin
        cls = self._load(path)
        return f"{cls.__module__}:{cls.__qualname__}"

    def files_of(self, problem: str, optimizer: str) -> tuple[str, ...]:
        """The plugin files that a trial's names stand in: all that its process has to import."""
        entries = [self.problems.get(parse(problem)[0][0]), *(self.optimizers.get(one) for one in _names(optimizer))]
        heads = [entry.path.rpartition(":")[0] for entry in entries if entry]
        return tuple(file for file in self.files if file in heads)

    def guarding(self, cls: Any) -> AbstractContextManager[None]:
        """What surrounds a call into a class: nothing for optbench's and torch's own."""
        own = getattr(cls, "__module__", "").split(".")[0] in OWN_PACKAGES
        return nullcontext() if own else self._guard()

    def _classes_of(self, problem: str, optimizer: str) -> tuple[Any, ...]:
        """The problem's class and those of the optimizer, of all its parts where it is a combination; no objects."""
        return tuple(self._load(path) for path in self._paths_of(problem, optimizer) if path not in self._sent)

    def _sent_of(self, problem: str, optimizer: str) -> list[sent.Sent]:
        """The objects of somebody's session among them."""
        return [self._sent[path] for path in self._paths_of(problem, optimizer) if path in self._sent]

    def _paths_of(self, problem: str, optimizer: str) -> list[str]:
        name = parse(problem)[0][0]
        entry = self.problems.get(name)
        found = [self._found(one)[0] for one in _names(self._found(optimizer)[0])]
        return [entry.path if entry else name, *found]

    def _add(self, file: str) -> None:
        if file.endswith(sent.SUFFIX):
            self._add_sent(file)
            return
        with self._guard():
            module = load_file(file)
        classes = [cls for cls in public_classes(module) if self._enter(cls, f"{file}:{cls.__name__}")]
        if not classes:
            raise RequestError(f"plugin {file}: defines no optimizer (a class with minimise) and no Problem")

    def _add_sent(self, file: str) -> None:
        """Enter an object of somebody's session."""
        with self._guard():
            one = sent.read(file)
        path = f"{file}:{one.name}"
        taken: Mapping[str, Any] = self.problems if one.kind == "problem" else self.optimizers
        if one.name in taken:
            raise RequestError(f"the name {one.name!r} is that of a built-in {one.kind}; give yours another name")
        if one.kind == "problem":
            self.problems[one.name] = ProblemEntry(path, {}, getattr(one.value, "track", ""), one.summary or one.name)
        else:
            gradient = isinstance(one.value, type) and issubclass(one.value, torch.optim.Optimizer)
            self.optimizers[one.name] = Entry(path, "gradient" if gradient else "plugin", one.summary or one.name)
        self._sent[path], self._classes[path] = one, one.value

    def _enter(self, cls: type, path: str) -> bool:
        """Put a class of a plugin file into its table; False where it is neither a problem nor an optimizer."""
        summary = (cls.__doc__ or "").strip().split("\n")[0] or f"from {Path(path.rpartition(':')[0]).name}"
        if issubclass(cls, Problem):
            name = plugin_name(cls, self.problems, path)
            self.problems[name] = ProblemEntry(path, {}, getattr(cls, "track", ""), summary)
        elif hasattr(cls, "minimise") or issubclass(cls, torch.optim.Optimizer):
            self.optimizers[plugin_name(cls, self.optimizers, path)] = Entry(path, "plugin", summary)
        else:
            return False
        self._classes[path] = cls
        return True

    def _load(self, path: str) -> Any:
        if path in self._classes:
            return self._classes[path]
        head, _, attribute = path.rpartition(":")
        if not head:
            raise RequestError(f"{path!r} is no import path, write module:Class")
        if head in ADAPTERS:
            with self._guard():
                self._classes[path] = _adapted(head, attribute)
            return self._classes[path]
        with nullcontext() if head.split(".")[0] in OWN_PACKAGES else self._guard():
            module = load_file(self._moved.get(head, head)) if head.endswith(".py") else _imported(head, path)
        if not hasattr(module, attribute):
            raise RequestError(f"{head} has no {attribute!r}, {nearest(attribute, vars(module), '')}")
        self._classes[path] = getattr(module, attribute)
        return self._classes[path]


def _names(text: str) -> list[str]:
    """The names in a combination, as its settings number them; one name is itself."""
    return [head for one in read(text) for head in one.heads()] if is_combination(text) else [text]


def _numbered(key: str) -> str:
    """ "lr" -> "1.lr": a setting without a number is the first part's."""
    return key if key.partition(".")[0].isdecimal() else f"1.{key}"


def _batch(settings: dict[str, Any], text: str) -> Any:
    """Take the minibatch out of the settings: None, "full" or a size. Raises RequestError."""
    batch = settings.pop("batch", None)
    if batch not in (None, "full") and not (type(batch) is int and batch > 0):
        raise RequestError(f"{text}: batch={batch!r} is neither a positive number nor 'full'")
    return batch


def _precision(settings: dict[str, Any], text: str) -> str:
    """Take the precision out of the settings. Raises RequestError."""
    precision = settings.pop("precision", FULL)
    if precision not in PRECISIONS:
        raise RequestError(f"{text}: precision={precision!r} is none of {', '.join(PRECISIONS)}")
    return str(precision)


def _adapted(package: str, name: str) -> type:
    """The class that runs an optimizer of another package, by the name that it has there."""
    if find_spec(package) is None:
        text = f"{package}:{name} needs the package {package}: python -m pip install 'optbench[{package}]'"
        raise RequestError(text)
    adapter = importlib.import_module(ADAPTERS[package])
    try:
        found: type = adapter.named(name)
    except KeyError:
        raise RequestError(f"{package} has no {name!r}, {nearest(name, adapter.names(), '')}") from None
    return found


def _imported(head: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(head)
    except ModuleNotFoundError as error:
        wraps = error.name == head or head.startswith("optbench.")
        if wraps and error.name in {entry.extra for entry in OPTIMIZERS.values()}:
            raise RequestError(f"{path} needs the package {error.name}: python -m pip install {error.name}") from None
        raise RequestError(f"cannot import {head!r} for {path!r}: {one_line(error)}") from None
    except (Exception, SystemExit) as error:
        raise RequestError(f"cannot import {head!r} for {path!r}: {one_line(error)}") from None
