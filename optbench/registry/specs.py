"""Specs: what a user writes for a problem or an optimizer, and what is said where there is no such name."""

from __future__ import annotations

import ast
import difflib
import itertools
import math
import re
from collections.abc import Iterable
from typing import Any

from optbench.core.trial import RequestError
from optbench.registry import expressions

MAX_COMBINATIONS = 10_000  # of the values in one spec


def nearest(name: str, known: Iterable[str], more: str = "; `python -m optbench list` shows what there is") -> str:
    """ "did you mean ...?" with the closest known name, whatever its case; or which is nearest, and more."""
    lower = {other.lower(): other for other in known}
    if found := difflib.get_close_matches(name.lower(), lower, 1, 0.5):
        return f"did you mean {lower[found[0]]!r}?"
    head, dot, tail = name.rpartition(".")
    if dot:
        return f"an import path is written {head}:{tail}"
    found = difflib.get_close_matches(name.lower(), lower, 1, 0.0)
    return (f"the nearest is {lower[found[0]]!r}" if found else "there is none") + more


def parse(text: str) -> list[tuple[str, dict[str, Any]]]:
    """ "adam[lr=0.01,0.1]" -> [("adam", {"lr": 0.01}), ("adam", {"lr": 0.1})]: every combination of the values. A range
    of whole numbers is written "bbob[f=1..24]".

    Of several optimizers, "A[lr=1] + B", the name is "A + B", and the settings are numbered as the names stand in it:
    {"1.lr": 1}. Raises RequestError.
    """
    expressions.check_closed(text)
    if not expressions.is_combination(text):
        return _plain(text)
    parts = expressions.read(text)
    heads = [_plain(head) for part in parts for head in part.heads()]
    if any(not found[0][0] for found in heads):
        raise RequestError(f"{text!r} has a part without a name: write A[lr=0.01] + B[lr=0.001]")
    _check_count(text, math.prod(len(found) for found in heads))
    name = expressions.written(parts, iter([found[0][0] for found in heads]))
    return [
        (name, {f"{k}.{key}": value for k, (_, own) in enumerate(chosen, 1) for key, value in own.items()})
        for chosen in itertools.product(*heads)
    ]


def _plain(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The same for one name with its settings."""
    found = re.fullmatch(r"([^\[\]]+)(?:\[(.*)\])?", text.strip())
    if not found:
        raise RequestError(f"{text!r} is not of the form name or name[key=value,...]")
    name, inner = found.group(1).strip(), found.group(2)
    grid: dict[str, list[Any]] = {}
    key = ""
    for part in re.findall(r"(?:\([^)]*\)|[^,(])+", inner or ""):
        head, sign, tail = part.partition("=")
        if sign:
            key = head.strip()
            if key in grid:
                raise RequestError(f"{text!r} gives {key!r} twice")
        if not key:
            raise RequestError(f"{text!r}: {part.strip()!r} has no key, write key=value")
        grid.setdefault(key, []).extend(values((tail if sign else part).strip(), text))
    _check_count(f"{name}[...]", math.prod(len(values) for values in grid.values()))
    return [(name, dict(zip(grid, values, strict=True))) for values in itertools.product(*grid.values())]


def _check_count(text: str, combinations: int) -> None:
    if combinations > MAX_COMBINATIONS:
        raise RequestError(f"{text} asks for {combinations} combinations, at most {MAX_COMBINATIONS} are run")


def values(text: str, whole: str) -> list[Any]:
    """What one written value stands for: "1..3" is 1, 2 and 3; anything else is itself. whole: the spec it is in."""
    if not (ends := re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text)):
        return [_literal(text)]
    first, last = int(ends[1]), int(ends[2])
    if last < first:
        raise RequestError(f"{whole!r}: the range {text} ends before it begins, write {last}..{first}")
    _check_count(f"{whole.partition('[')[0]}[...]", last - first + 1)
    return list(range(first, last + 1))


def _literal(text: str) -> Any:
    """A number, truth value (True or true), None or tuple of them; whatever else is written stays text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if _is_setting(value) else text


def _is_setting(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_setting(item) for item in value)
    return value is None or isinstance(value, int | float | str)


def snake(name: str) -> str:
    """ "MyMethod" -> "my_method": how a plugin file's class is asked for."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def one_line(error: BaseException) -> str:
    """An exception as a message has it: its kind and its text."""
    return f"{type(error).__name__}: {' '.join(text_of(error).split())}"


def text_of(error: BaseException) -> str:
    """The text of an exception, which need not have one that can be asked for."""
    try:
        return str(error)
    except BaseException as another:  # raised by somebody's __str__
        return f"its text cannot be read ({type(another).__name__})"
