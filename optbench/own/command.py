"""A problem from what the command line names: a file with a model, data in files, a target and a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from optbench.core.trial import RequestError
from optbench.own import files
from optbench.own.problem import OwnProblem, problem

CLASSES = ("cross-entropy",)  # losses whose target is a class


def from_files(
    model: str,
    data: str,
    target: str | None,
    loss: str,
    batch: int | None,
    load: Callable[[str], ModuleType],
) -> OwnProblem:
    """The problem of `--model FILE.py:NAME --data ... --target ... --loss ...`. Raises RequestError.

    load: a Python file as a module. What the name stands for may take the shape of one sample and the number of
    outputs, as `inputs` and `outputs`.
    """
    file, _, name = model.rpartition(":")
    if not file.endswith(".py"):
        raise RequestError(f"--model {model!r} must be FILE.py:NAME, with the name of a class or function in the file")
    module = load(file)
    if not hasattr(module, name):
        import difflib

        known = [one for one, value in vars(module).items() if callable(value) and not one.startswith("_")]
        close = difflib.get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}"
        raise RequestError(f"--model {file} has no {name!r}, {hint}")
    found = files.read(data, target, loss in CLASSES)
    make = fitted(getattr(module, name), found.inputs, found.outputs)
    title = f"{Path(file).stem}_on_{Path(data).stem or Path(data).resolve().name}"
    made = problem(make, loss, found.train, found.valid, found.test, batch=batch, name=_plain(title))
    return replace(made, shares=found.shares, standardised=found.standardised)


def fitted(make: Any, inputs: tuple[int, ...], outputs: int) -> Any:
    """The model, told the shape of one sample and the number of outputs where it asks for them by these names."""
    if isinstance(make, nn.Module):
        return make
    wanted = inspect.signature(make).parameters
    given = {"inputs": inputs[0] if len(inputs) == 1 else inputs, "outputs": outputs}
    return Fitted(make, {name: value for name, value in given.items() if name in wanted})


class Fitted:
    """A function with some of its arguments."""

    def __init__(self, make: Callable[..., Any], given: dict[str, Any]) -> None:
        self.made_of, self.given = make, given
        self.__name__ = getattr(make, "__name__", "model")

    def __call__(self) -> Any:
        return self.made_of(**self.given)


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.-" else "_" for c in name)
