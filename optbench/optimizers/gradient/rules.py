"""Rules: which parameters of a network an optimizer takes, by name, dimensions, layer type and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the notation is read where torch is not imported
    from torch import nn

KEYS = ("name", "ndim", "layer", "place")
PLACES = ("first", "hidden", "last")


class Described(NamedTuple):
    """What rules know of one parameter."""

    name: str  # as named_parameters has it: "0.weight"
    ndim: int
    layer: str  # the class of the module that owns it: "Linear"
    places: tuple[str, ...]  # of that module among those with parameters; a single one is first and last


@dataclass(frozen=True)
class Rule:
    """Conditions that all must hold; none takes everything that the optimizer can train."""

    conditions: tuple[tuple[str, str], ...] = ()  # (key, value), sorted; "!" before a value negates it

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def __str__(self) -> str:
        return "{" + ",".join(f"{key}={value}" for key, value in self.conditions) + "}" if self.conditions else ""

    def takes(self, parameter: Described) -> bool:
        """Whether all conditions hold."""
        return all(_holds(parameter, key, value) for key, value in self.conditions)


NO_RULE = Rule()


def rule(text: str) -> Rule:
    """ "ndim=2,place=!last" -> Rule. Raises ValueError for an unknown key or value, with the corrected notation."""
    conditions: dict[str, str] = {}
    for part in text.split(","):
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if key not in KEYS or not sign or not value.removeprefix("!"):
            raise ValueError(f"{part.strip()!r} is no rule, the keys are {', '.join(KEYS)}: write {{ndim=2}}")
        plain = value.removeprefix("!")
        if key == "ndim" and not plain.removesuffix("+").isdecimal():
            raise ValueError(
                f"ndim={plain} is no number of dimensions: write {{ndim=2}}, or {{ndim=2+}} for two or more"
            )
        if key == "place" and plain not in PLACES:
            raise ValueError(f"place={plain} is none of {', '.join(PLACES)}: write {{place=hidden}}")
        if key in conditions:
            raise ValueError(f"{key} is given twice: write {{{key}={value}}}")
        conditions[key] = value
    return Rule(tuple(sorted(conditions.items())))


def described(module: nn.Module) -> list[Described]:
    """What rules know of the module's parameters, in the order of named_parameters."""
    owners: dict[int, tuple[int, str]] = {}  # a parameter's id: place and class of the first module that owns it
    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    for k, layer in enumerate(layers):
        for p in layer.parameters(recurse=False):
            owners.setdefault(id(p), (k, type(layer).__name__))
    return [
        Described(name, p.ndim, owners[id(p)][1], _places(owners[id(p)][0], len(layers)))
        for name, p in module.named_parameters()
    ]


def _places(k: int, count: int) -> tuple[str, ...]:
    ends = ("first",) * (k == 0) + ("last",) * (k == count - 1)
    return ends or ("hidden",)


def _holds(parameter: Described, key: str, value: str) -> bool:
    plain = value.removeprefix("!")
    holds = {
        "name": fnmatchcase(parameter.name, plain),
        "ndim": key == "ndim" and _has_dimensions(parameter.ndim, plain),
        "layer": parameter.layer == plain,
        "place": plain in parameter.places,
    }[key]
    return holds != value.startswith("!")


def _has_dimensions(ndim: int, wanted: str) -> bool:
    """Whether there are as many as "2" says, or at least as many as "2+" says."""
    least = int(wanted.removesuffix("+"))
    return ndim >= least if wanted.endswith("+") else ndim == least


def missing(left: Sequence[Described]) -> str:
    """What is said where no rule takes these parameters."""
    first = left[0]
    return f"no part takes {first.name} ({first.layer}, ndim={first.ndim}): add one without a rule, ' + adamw'"
