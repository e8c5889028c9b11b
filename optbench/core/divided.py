"""A problem on another division of its data into training, validation and test data.

Every problem whose `data` divides by `split`, or by what is built on it, has as many divisions as are asked for. Number
0 is the one that its author states; start, best loss and targets are stated for that one alone.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
from functools import cache, lru_cache
from types import FunctionType
from typing import Any, TypeVar

import torch

from optbench.core.dividing import dividing
from optbench.core.problem import Best, Known, Problem, Splits, measured_start
from optbench.core.trial import LOWEST_SEEN
from optbench.core.user_files import Stamp, stamps

P = TypeVar("P", bound=Problem)

_ONE_AT_A_TIME = threading.RLock()  # what a problem's module keeps is that of one division
_NOT_OF_PROBLEMS = ("optbench.core", "optbench.engine", "optbench.own")  # what these keep is kept by problem


def divided(problem: P, number: int) -> P:
    """The problem on division `number` of its data; 0 is the problem itself.

    Its start is measured. Its best loss is the class's `bound` where that is what the problem states, for no data go
    below it; any other was found on the stated division, so the lowest loss that a study sees stands in for it.
    """
    if number == 0:
        return problem
    cls: Any = type(problem)
    found: Any = object.__new__(_class(cls))
    if dataclasses.is_dataclass(problem):
        values = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    else:
        values = dict(vars(problem))
    for name, value in {**values, "_stated": problem, "_number": number}.items():
        if not isinstance(vars(Divided).get(name), property):  # which asks the stated problem
            object.__setattr__(found, name, value)
    done: P = found
    return done


def undivided(problem: Problem) -> Problem:
    """The problem on the division that its author states."""
    return problem._stated if isinstance(problem, Divided) else problem


def divides(problem: Problem) -> bool:
    """Whether chance divides the problem's data, so that other divisions can be drawn.

    Not so where data were divided before and are kept out of reach. Raises ValueError where that is seen to happen.
    """
    if not _data(problem, 1)[1]:
        return False
    if not _data(problem, 2)[1]:
        raise ValueError(
            f"{type(problem).__name__}.data() divides its data once and keeps them, so that there is no other split; "
            "divide at every call, or keep what functools.cache keeps"
        )
    return True


class Divided(Problem):
    """What a problem on another division has in place of what it states. Mixed into the problem's own class."""

    _stated: Problem
    _number: int

    @property
    def track(self) -> str:
        return self._stated.track

    @property
    def dtype(self) -> torch.dtype:
        return self._stated.dtype

    @property
    def stochastic(self) -> bool:
        return self._stated.stochastic

    @property
    def vmaps(self) -> bool:
        return self._stated.vmaps

    @property
    def loss_name(self) -> str:
        return self._stated.loss_name

    @property
    def known(self) -> Known | None:
        return None

    @property
    def start(self) -> float:
        return measured_start(self)

    @property
    def best(self) -> Best:
        stated = self._stated.best
        holds = stated.source == "bound" and stated.value == self.bound
        return stated if holds else Best(math.nan, LOWEST_SEEN)

    def data(self) -> Splits:
        return _kept(self, stamps(self.data_files))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Divided) and (self._stated, self._number) == (other._stated, other._number)

    def __hash__(self) -> int:
        return hash((self._stated, self._number))


@lru_cache(maxsize=16)
def _kept(problem: Divided, files: tuple[Stamp, ...]) -> Splits:
    found, times = _data(problem._stated, problem._number)
    if not times:
        raise ValueError(
            f"{type(problem).__name__}.data() was not divided anew, so there is no split {problem._number}"
        )
    return found


def _data(problem: Problem, number: int) -> tuple[Splits, int]:
    """The data on a division, and how often chance divided them."""
    with _ONE_AT_A_TIME, dividing(number) as asked:
        _forget(type(problem))
        try:
            return problem.data(), asked.times
        finally:
            _forget(type(problem))


@cache
def _class(cls: type[Problem]) -> type[Problem]:
    """The class of a problem on other divisions: its own, with `Divided` before it."""
    about = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (Divided, cls), about)


def _forget(cls: type) -> None:
    """Clear what functions of the problem's modules keep by functools.cache: it is of the division they made it on."""
    for namespace in _namespaces(cls):
        for item in list(namespace.values()):
            if callable(clear := getattr(item, "cache_clear", None)) and not _is_of_core(item):
                clear()


def _namespaces(cls: type) -> list[dict[str, Any]]:
    """The names of the problem's modules, and of those of its package whose functions they use."""
    heads = [one.__module__ for one in cls.__mro__ if one.__module__ != Problem.__module__ and one is not object]
    homes = tuple(_home(head) for head in heads)
    found: dict[int, dict[str, Any]] = {}
    todo = [vars(sys.modules[head]) for head in heads if head in sys.modules]
    while todo:
        names = todo.pop()
        if id(names) in found:
            continue
        found[id(names)] = names
        for item in list(names.values()):
            function = getattr(item, "__wrapped__", item)
            if isinstance(function, FunctionType) and function.__module__.startswith(homes) and not _is_of_core(item):
                todo.append(function.__globals__)
    return list(found.values())


def _home(module: str) -> str:
    return "optbench.problems" if module.startswith("optbench.") else module.partition(".")[0]


def _is_of_core(item: Any) -> bool:
    return str(getattr(item, "__module__", "")).startswith(_NOT_OF_PROBLEMS)
