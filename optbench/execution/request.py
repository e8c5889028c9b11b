"""From what a user asks for, on the command line or in Python, to a suite and a folder."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from optbench.core.trial import RequestError, spec
from optbench.execution.options import RunOptions
from optbench.execution.suite import Suite, read_suite
from optbench.registry.expressions import is_combination
from optbench.registry.specs import parse

DEFAULT_SUITE = "quick"
# Where problems are named and no optimizer: a method of every family that needs no structure of the problem.
DEFAULT_OPTIMIZERS = ("sgd", "momentum", "adam", "rmsprop", "lbfgs", "pso", "openai_es", "random_search")
# Where optimizers are named and no problem: eight that take seconds, convex ones, small networks and functions.
DEFAULT_PROBLEMS = (
    "line_mse",
    "logistic_cancer",
    "mlp_iris",
    "mlp_wine",
    "mlp_diabetes",
    "mlp_digits",
    "rosenbrock",
    "rastrigin",
)
_FILE = re.compile(r"[^\[\](){}+]+\.py(?=\s*:)", re.IGNORECASE)  # a Python file in a spec, wherever it stands in it
_MODULE = re.compile(r"([A-Za-z_]\w*)(?:\.\w+)*\s*:")  # the package of an import path
_OWN = {"optbench", "torch"}  # they are imported already
_INSTALLED = {"site-packages", "dist-packages"}  # folders of what somebody has installed
MAX_NAME = 60  # characters of a folder that is named after its request


@dataclass(frozen=True)
class Request:
    """What is asked for. suite: None where problems or optimizers are named by themselves, or for the default suite.

    Whatever else is None or empty is the suite's own, or the default of a request without a suite.
    """

    suite: str | None = None
    out: str | Path | None = None
    problems: Sequence[str] = ()
    optimizers: Sequence[str] = ()
    seeds: int | None = None  # seeds 0 to seeds - 1
    passes: float | None = None  # the budget of every trial
    steps: int | None = None  # the same as gradient steps
    seconds: float | None = None  # the same as time
    until: str | float = ""  # a loss or metric at which a trial ends
    tune: int | None = None  # configurations tried of every optimizer that has a search space
    timeout: float | None = None  # seconds that a trial may take
    memory: float | None = None  # GiB that a worker process may hold
    timing: int | None = None  # trials a cell alone at the end, for their clock
    precision: str | None = None  # of every optimizer's evaluations
    splits: int | None = None  # divisions of each problem's data, which seeds take in turn
    files: Sequence[str] = ()  # plugin files that are given beside the suite
    trust: bool = False  # a suite file may name Python files of its own
    against: str | None = None  # a reference, whose problems, budgets and seeds are taken
    named: bool = False  # nothing is taken from a suite, though nothing may be named

    @property
    def is_own(self) -> bool:
        """Whether problems or optimizers are named and no suite: then nothing is taken over from one."""
        return self.suite is None and self.against is None and (self.named or bool(self.problems or self.optimizers))

    def resolved_suite(self) -> Suite:
        """The suite with the given parts replaced, or one made of the request itself. Raises RequestError."""
        if self.against is not None:
            suite = self._beside(self.against)
        else:
            suite = self._own() if self.is_own else self._changed(read_suite(self.suite or DEFAULT_SUITE))
        if not self.is_own:
            self._refuse_code(suite)
        given = {
            "seeds": self.seeds,
            "tune": self.tune,
            "timeout": self.timeout,
            "memory": self.memory,
            "timing": None if self.timing is None else int(self.timing),
            "splits": self.splits,
        }
        suite = replace(suite, **{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        if self.precision is not None:
            suite = replace(suite, optimizers=tuple(_at(self.precision, suite.optimizers)))
        budget = {"passes": self.passes, "steps": self.steps, "seconds": self.seconds}
        if any(value is not None for value in budget.values()):
            suite = replace(suite, budgets={}, **budget)  # type: ignore[arg-type]
        if self.seconds is not None and self.timeout is None:
            suite = replace(suite, timeout=max(suite.timeout, 3 * self.seconds + 60))
        return replace(suite, until=str(self.until)) if self.until != "" else suite

    def folder(self, suite: Suite) -> Path:
        """Where the results go: `out`, or a folder named after the suite or the request."""
        name = f"{suite.name}_on_{self.splits}_splits" if self.splits and self.splits > 1 else suite.name
        return Path(self.out) if self.out is not None else Path("results") / name

    @property
    def plain_name(self) -> str:
        """Its problems as part of a folder's name."""
        return _joined(self.problems) or "default_problems"

    def _refuse_code(self, suite: Suite) -> None:
        """Raises RequestError where the suite's own text, and not the request, names code that came with it.

        That is a Python file, or a module in this folder or the suite's: it would run.
        """
        if self.trust:
            return
        given = {Path(file).resolve() for file in self.files}
        names = () if self.problems else suite.problems
        names += () if self.optimizers else suite.optimizers
        for file in (one.strip() for text in names for one in _FILE.findall(text)):
            if Path(file).resolve() not in given:
                raise RequestError(
                    f"suite {suite.name} names the Python file {file}, which would run: give it as --plugin {file}, "
                    "or --trust the suite"
                )
        near = [Path.cwd(), *([Path(self.suite).resolve().parent] if self.suite else [])]
        for module in dict.fromkeys(one for text in names for one in _MODULE.findall(text)):
            if file := _file_of(module, near):
                raise RequestError(
                    f"suite {suite.name} names the module {module}, {file}, which would run: --trust the suite"
                )

    def _own(self) -> Suite:
        problems = tuple(self.problems) or DEFAULT_PROBLEMS
        optimizers = tuple(self.optimizers) or DEFAULT_OPTIMIZERS
        what = _joined(self.optimizers) or "default_optimizers"
        return Suite(f"{what}_on_{self.plain_name}", problems, optimizers, description="a request of its own")

    def _beside(self, name: str) -> Suite:
        """The reference's suite with one's own optimizers, on some of its problems if any are named."""
        if self.suite is not None or self.passes is not None:
            raise RequestError(f"--against {name} takes its own suite and budgets: leave out the suite and --passes")
        if not self.optimizers:
            raise RequestError(f"--against {name} needs the optimizers that are to stand beside it: --optimizer NAME")
        from optbench.records.reference import reference_suite  # imports pandas

        suite = read_suite(str(reference_suite(name)))
        if self.splits not in (None, suite.splits):
            raise RequestError(
                f"{name} was run on {suite.splits} split{'s' * (suite.splits != 1)} of the data: leave out --splits, "
                "for losses on other data stand beside nothing there"
            )
        for problem in self.problems:
            if problem not in suite.problems:
                close = difflib.get_close_matches(problem, suite.problems, 1, 0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(suite.problems)}"
                raise RequestError(f"{name} has no problem {problem!r}, {hint}")
        where = f"{_joined(self.optimizers)}_against_{Path(name).name}"
        return replace(self._changed(suite), name=where, description=f"own optimizers beside {name}")

    def _changed(self, suite: Suite) -> Suite:
        if self.problems:
            budgets = {name: value for name, value in suite.budgets.items() if name in self.problems}
            suite = replace(suite, problems=tuple(self.problems), budgets=budgets)
        return replace(suite, optimizers=tuple(self.optimizers)) if self.optimizers else suite


class Asked(NamedTuple):
    """What is to be run, where to and how."""

    suite: Suite
    folder: Path
    how: RunOptions


def asked(given: Mapping[str, Any], files: Sequence[str]) -> Asked:
    """What a user states by name, on the command line or in Python, as a suite, a folder and options.

    given: fields of Request and of RunOptions; those of both are the request's. files: plugin files. Raises
    RequestError, and TypeError for a name that neither has, so that nothing stated is dropped.
    """
    stated = dict(given)
    of_request = {field.name for field in fields(Request)}
    request = Request(files=files, **{name: stated.pop(name) for name in of_request & stated.keys()})
    how = RunOptions(plugins=tuple(files), **stated)
    suite = request.resolved_suite()
    return Asked(suite, request.folder(suite), how)


def _file_of(module: str, folders: Sequence[Path]) -> Path | None:
    """The file that an import would run, where it lies in one of these folders and is not installed; else None."""
    if module in _OWN:
        return None
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    places = [found.origin, *(found.submodule_search_locations or ())] if found else []
    for place in (Path(place).resolve() for place in places if place and place not in ("built-in", "frozen")):
        if any(place.is_relative_to(folder) for folder in folders) and not _INSTALLED & {*place.parts}:
            return place
    return None


def _at(precision: str, optimizers: Sequence[str]) -> Iterator[str]:
    """Specs of optimizers with this precision as a setting of each."""
    for text in optimizers:
        for name, settings in parse(text):
            key = "1.precision" if is_combination(name) else "precision"
            yield spec(name, {key: precision, **settings})


def _joined(specs: Sequence[str]) -> str:
    """The names of specs as part of a folder's name: joined, or the first and how many more."""
    names = list(dict.fromkeys(name.rpartition(":")[2] for text in specs for name, _ in parse(text)))
    names = [re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.") for name in names]
    text = "_".join(names)
    return text if len(text) <= MAX_NAME // 2 or len(names) < 2 else f"{names[0]}_and_{len(names) - 1}_more"


def is_small(suite: Suite, most: int) -> bool:
    """Whether a suite asks for so few trials, as far as its text tells."""
    cells = 0
    for problem in suite.problems:
        cells += len(parse(problem)) * sum(len(parse(text)) for text in suite.optimizers)
    return cells * suite.seeds * max(1, suite.tune) <= most
