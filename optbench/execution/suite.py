"""Suites: problems x optimizers x configurations x seeds as plain data, read from TOML files and checked."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from optbench.core.goal import read_goal
from optbench.core.trial import RequestError
from optbench.records.analysis import read_analysis

MAX_CONFIGURATIONS = 64  # that a suite may ask to be tried of an optimizer
SUITES = Path(__file__).parents[1] / "suites"


@dataclass(frozen=True)
class Suite:
    """problems x optimizers x configurations x seeds. Every field but `name` is a key of the TOML file."""

    name: str
    problems: tuple[str, ...]
    optimizers: tuple[str, ...]
    seeds: int = 5  # seeds 0 to seeds - 1
    timing: int | None = None  # trials a cell run by themselves, so that seconds can be compared; None: as `lone` says
    pinned: bool = False  # where nobody says how many lone trials: one a core, each on its own, where the system can
    tune: int = 0  # configurations tried of every optimizer with a search space; 0: all run as they come
    passes: float | None = None  # the budget; None: each problem's own
    budgets: dict[str, float] = field(default_factory=dict)  # passes of single problems
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)  # near-duplicates, which count as one problem
    timeout: float = 120.0  # seconds a trial may take before it is stopped
    memory: float = 4.0  # GiB a worker may hold before it is stopped
    description: str = ""
    steps: int | None = None  # the budget as gradient steps on each problem's own minibatch, instead of passes
    seconds: float | None = None  # the budget as seconds of the optimizer's own clock, instead of passes
    analysis: dict[str, Any] = field(default_factory=dict)  # what the report will ask, see `records.analysis`
    until: str = ""  # a loss or metric at which a trial ends: "0.05", "valid_accuracy>=0.97"
    splits: int = 1  # divisions of each problem's data: seed s uses split s mod splits, split 0 is the stated one

    @property
    def lone(self) -> int:
        """Trials a cell that are run for their clock: what is asked for, else one."""
        return 1 if self.timing is None else self.timing

    @property
    def budget(self) -> dict[str, Any]:
        """What the budget is, where it is not passes, and the goal that ends a trial, where there is one."""
        found: dict[str, Any] = {}
        if self.steps is not None:
            found = {"unit": "steps", "amount": self.steps}
        if self.seconds is not None:
            found = {"unit": "seconds", "amount": self.seconds}
        if self.until:
            goal = read_goal(self.until)
            found["until"] = {"column": goal.column, "higher": goal.higher, "value": goal.value, "text": goal.text}
        return found

    def toml(self) -> str:
        """The suite as the file that would make it again."""
        rows = []
        for item in fields(self):
            value = getattr(self, item.name)
            if (item.name, value) in (("splits", 1), ("pinned", False)):
                continue
            if item.name != "name" and value not in (None, "") and not isinstance(value, dict):
                rows.append(f"{item.name} = {_toml(value)}")
        if self.budgets:
            rows += ["", "[budgets]", *(f"{_toml(key)} = {_toml(value)}" for key, value in self.budgets.items())]
        if self.groups:
            rows += ["", "[groups]", *(f"{_toml(key)} = {_toml(value)}" for key, value in self.groups.items())]
        if self.analysis:
            rows += ["", "[analysis]"]
            rows += [f"{key} = {_toml(tuple(v) if isinstance(v, list) else v)}" for key, v in self.analysis.items()]
        return "\n".join(rows) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[\n" + "".join(f"    {_toml(item)},\n" for item in value) + "]"
    return repr(value)


def builtin() -> list[str]:
    """Names of the suites that come with the package."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def read_suite(name: str) -> Suite:
    """A built-in suite or a TOML file. Raises RequestError, naming the line."""
    path = SUITES / f"{name}.toml" if name in builtin() else Path(name)
    if not path.is_file():
        if path.suffix == ".toml":
            raise RequestError(f"suite {name}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
        close = difflib.get_close_matches(name, builtin(), 1, 0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"built in: {', '.join(builtin())}; or give a .toml file"
        raise RequestError(f"unknown suite {name!r}, {hint}")
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"suite {path}: {error}") from None
    except RecursionError:
        raise RequestError(f"suite {path}: tables or lists within each other without end") from None
    return _checked(path, text, data)


_KINDS: dict[str, tuple[type, ...]] = {
    "problems": (list,),
    "optimizers": (list,),
    "seeds": (int,),
    "tune": (int,),
    "timing": (int, bool),
    "pinned": (bool,),
    "passes": (int, float),
    "budgets": (dict,),
    "groups": (dict,),
    "timeout": (int, float),
    "memory": (int, float),
    "description": (str,),
    "steps": (int,),
    "seconds": (int, float),
    "until": (str,),
    "splits": (int,),
    "analysis": (dict,),
}


def _checked(path: Path, text: str, data: dict[str, Any]) -> Suite:
    def at(key: str) -> str:
        lines = text.splitlines()
        found = [n for n, line in enumerate(lines, 1) if re.match(rf"\s*\[?\"?{re.escape(key)}\b", line)]
        return f"suite {path}, line {found[0]}" if found else f"suite {path}"

    for key, value in data.items():
        if key not in _KINDS:
            close = difflib.get_close_matches(key, _KINDS, 1, 0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_KINDS)}"
            raise RequestError(f"{at(key)}: unknown key {key!r}, {hint}")
        if not isinstance(value, _KINDS[key]) or (isinstance(value, bool) and bool not in _KINDS[key]):
            kind = " or ".join(t.__name__ for t in _KINDS[key])
            raise RequestError(f"{at(key)}: {key} is a {type(value).__name__}, it must be a {kind}")
    for key in ("problems", "optimizers"):
        if not data.get(key):
            raise RequestError(f"{at(key)}: {key} must list at least one")
        if wrong := [item for item in data[key] if not isinstance(item, str)]:
            raise RequestError(f"{at(key)}: {key} holds {wrong[0]!r}, it must be a list of strings")
        data[key] = tuple(data[key])
    for key, value in data.get("budgets", {}).items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RequestError(f"{at(key)}: the budget of {key!r} is {value!r}, it must be a number of passes")
        if key not in data["problems"]:
            raise RequestError(f"{at(key)}: a budget for {key!r}, which is none of the suite's problems")
    data["groups"] = _groups(data.get("groups", {}), data["problems"], at)
    if not 0 <= data.get("tune", 0) <= MAX_CONFIGURATIONS:
        raise RequestError(f"{at('tune')}: {_untunable(data['tune'])}")
    try:
        data["analysis"] = _analysis(data.get("analysis", {}), data["optimizers"])
    except RequestError as error:
        raise RequestError(f"{at('analysis')}: {error}") from None
    if "timing" in data:
        data["timing"] = int(data["timing"])  # true is one, false is none
    return Suite(name=path.stem, **data)


def _groups(given: dict[str, Any], problems: tuple[str, ...], at: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    """The groups of a suite: lists of its own problems, none in two of them. Raises RequestError."""
    seen: dict[str, str] = {}
    for name, members in given.items():
        if not isinstance(members, list) or len(members) < 2:
            raise RequestError(f"{at(name)}: the group {name!r} must list two problems or more")
        for member in members:
            if member not in problems:
                raise RequestError(f"{at(name)}: {member!r} of the group {name!r} is none of the suite's problems")
            if member in seen:
                raise RequestError(f"{at(name)}: {member!r} is in the groups {seen[member]!r} and {name!r}")
            seen[member] = name
    return {name: tuple(members) for name, members in given.items()}


def _analysis(given: dict[str, Any], optimizers: tuple[str, ...]) -> dict[str, Any]:
    """The analysis of a suite as data; `{}` where none is stated. Raises RequestError."""
    if not given:
        return {}
    analysis = read_analysis(given)
    names = [text.partition("[")[0] for text in optimizers]
    if analysis.reference and analysis.reference not in (*names, *optimizers):
        close = difflib.get_close_matches(analysis.reference, names, 1, 0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(names)}"
        raise RequestError(f"reference = {analysis.reference!r} is none of the suite's optimizers, {hint}")
    return {**analysis.as_data(), "question": analysis.question}


def _untunable(count: int) -> str:
    most = MAX_CONFIGURATIONS
    return f"tune = {count}, it must be 0 (optimizers run as they come) to {most} settings; 5 and 20 are usual"


def check_numbers(suite: Suite) -> None:
    """Raises RequestError for counts and budgets that make no run."""
    if suite.seeds < 1:
        raise RequestError(f"seeds = {suite.seeds}, at least 1 is needed")
    if suite.splits < 1:
        raise RequestError(f"splits = {suite.splits}, it must be 1 (the split that each problem states) or more")
    if not 0 <= suite.tune <= MAX_CONFIGURATIONS:
        raise RequestError(_untunable(suite.tune))
    if not 0 <= suite.lone <= suite.seeds:
        raise RequestError(
            f"timing = {suite.timing} with {suite.seeds} seeds: each lone run is the record of a seed, so it must be 0 "
            f"(none) to {suite.seeds}"
        )
    if sum(one is not None for one in (suite.passes, suite.steps, suite.seconds)) > 1:
        raise RequestError("a budget is passes, steps or seconds: give one of them")
    if suite.until:
        read_goal(suite.until)
    if suite.seconds is not None and not suite.seconds < suite.timeout:
        raise RequestError(f"seconds = {suite.seconds:g} is not below the timeout of {suite.timeout:g} s a trial")
    numbers = {
        "passes": suite.passes,
        "steps": suite.steps,
        "seconds": suite.seconds,
        "timeout": suite.timeout,
        "memory": suite.memory,
    }
    numbers |= {f"the budget of {name!r}": value for name, value in suite.budgets.items()}
    for name, value in numbers.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise RequestError(f"{name} = {value}, it must be a positive number")
