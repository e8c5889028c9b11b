"""What is planned: trials, their names and how one may end. Standard library only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STATUSES = ("spent", "finished", "diverged", "failed", "timeout", "killed", "inapplicable")
FAILED = ("diverged", "failed", "timeout", "killed")
LOWEST_SEEN = "lowest seen in this study"  # the source of a best loss that nobody states: the report's own trials tell

UNLIMITED_PASSES = 1e9  # of a trial whose budget is time

LATER = ("seconds", "until", "split")  # fields of a trial that came after the first records

Setting = int | float | bool | str | None | tuple[Any, ...]


_MARKS = re.compile(r"( \+ |[()]|\{[^}]*\})")  # what stands between the names of a combination
_RATE = re.compile(r"(?<=[\[,])lr=[^,\]]+,?")  # a learning rate among the settings of a label
_NUMBERED = re.compile(r"\d+\.")  # how a setting of one name in a combination begins


class RequestError(ValueError):
    """A request that is refused before anything runs; its text is one clear line."""


class MachineError(RuntimeError):
    """The machine, or processes on it, failed: what was under way has no result. Its text is one clear line."""


@dataclass(frozen=True)
class Trial:
    """One training run as pure data: hashable, comparable, and small enough for any executor to carry."""

    problem: str  # a problem's spec: "mlp_digits" or "step_1d[K=4]"
    optimizer: str  # a table name, a plugin's name or an import path: "adam", "torch.optim:NAdam"
    hyper: tuple[tuple[str, Setting], ...]  # settings that differ from the defaults, sorted by name
    seed: int
    passes: float  # the budget, in forward passes over the training set
    device: str = "cpu"
    seconds: float | None = None  # the budget, where it is time: `passes` then is no limit
    until: str = ""  # a loss or metric at which it ends, see `core.goal`
    split: int = 0  # which division of the problem's data, see `core.divided`; 0 is the one that it states

    def as_data(self) -> dict[str, Any]:
        """Its fields; those that were added later only where they say something, so that keys stay what they were."""
        return {name: value for name, value in asdict(self).items() if value or name not in LATER}

    @property
    def key(self) -> str:
        """16 hexadecimal digits that name this trial, the same on every machine."""
        text = json.dumps(self.as_data(), sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The optimizer with its settings, as a user would type it: "adam[lr=0.1]"."""
        return spec(self.optimizer, dict(self.hyper))

    @property
    def cell(self) -> tuple[str, str]:
        """(problem, labelled optimizer): what the seeds of one comparison share."""
        return self.problem, self.label


def same_work(label: str) -> str:
    """What a labelled optimizer shares with those that take as long a step: its label without learning rates.

    "adam[lr=0.1]" and "adam[lr=0.01]" give "adam".
    """
    return _RATE.sub("", label).replace(",]", "]").replace("[]", "")


def spec(name: str, settings: Mapping[str, Any]) -> str:
    """`name[key=value,...]` with the keys sorted, the inverse of `registry.specs.parse`.

    Settings of a combination, "2.lr" for the second name in it, are written where that name stands.
    """
    if not settings:
        return name
    pieces = _MARKS.split(name)
    places = [k for k in range(0, len(pieces), 2) if pieces[k].strip()]
    if len(pieces) > 1 and all(_NUMBERED.match(key) for key in settings):
        for number, place in enumerate(places, 1):
            own = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{number}.")}
            pieces[place] = spec(pieces[place], own)
        return "".join(pieces)
    inner = ",".join(f"{key}={_plain(value)}" for key, value in sorted(settings.items()))
    return f"{name}[{inner}]"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "(" + ",".join(_plain(item) for item in value) + ")"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
