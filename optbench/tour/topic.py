"""A topic of the tour: its question, its study, its picture. The code that a page shows is the code that made it."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optbench.core.trial import RequestError
from optbench.tour.picture import Picture
from optbench.tour.topics import TOPICS

MAX_LINES = 10  # of the code on a page


@dataclass(frozen=True)
class Topic:
    """study: a function whose body is the code on the page: all of its arguments have defaults, its last line returns a
    name. draw: from what the study returns to the picture. quick: arguments of a study that takes seconds. says: three
    sentences. note: what a reader must not misunderstand. alone: its clock counts, so nothing may run beside it.
    """

    title: str
    question: str
    says: tuple[str, str, str]
    exercise: str
    study: Callable[..., Any]
    draw: Callable[[Any], Picture]
    quick: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    alone: bool = False

    def code(self, **arguments: Any) -> str:
        """The study as lines that run by themselves. arguments: in place of its defaults."""
        return self._read(arguments)[0]

    def data(self, **arguments: Any) -> Any:
        """What came of the code, which is run as it is shown."""
        code, result = self._read(arguments)
        namespace: dict[str, Any] = {"__name__": f"tour of {self.title}"}
        exec(compile(code, f"<{self.title}>", "exec"), namespace)
        return namespace[result]

    @property
    def result(self) -> str:
        """The name that the code leaves its results in."""
        return self._read({})[1]

    def _read(self, arguments: Mapping[str, Any]) -> tuple[str, str]:
        source = textwrap.dedent(inspect.getsource(self.study))
        function = ast.parse(source).body[0]
        assert isinstance(function, ast.FunctionDef)
        body = function.body[1:] if ast.get_docstring(function) else function.body
        last = body[-1]
        assert isinstance(last, ast.Return) and isinstance(last.value, ast.Name), "a study ends with `return name`"
        lines = textwrap.dedent("\n".join(source.splitlines()[body[0].lineno - 1 : last.lineno - 1])).splitlines()
        begin = next(k for k, one in enumerate(body) if not isinstance(one, ast.Import | ast.ImportFrom))
        imports = body[begin].lineno - body[0].lineno
        given = {name: one.default for name, one in inspect.signature(self.study).parameters.items()} | dict(arguments)
        settings = [f"{', '.join(given)} = {', '.join(map(repr, given.values()))}"] if given else []
        return "\n".join([*lines[:imports], *settings, *lines[imports:]]), last.value.id


def topic(name: str) -> Topic:
    """The topic of a name. Raises RequestError, with the nearest one, where there is none."""
    if name not in TOPICS:
        close = difflib.get_close_matches(name, TOPICS, 1, 0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(TOPICS)}"
        raise RequestError(f"unknown topic {name!r}, {hint}")
    found: Topic = importlib.import_module(f"optbench.tour.topics.{name}").TOPIC
    return found
