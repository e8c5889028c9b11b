"""The settings of many optimizers as one space for Optuna: the optimizer first, then the settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optbench.core.trial import Setting, spec
from optbench.optimizers import Space

OPTIMIZER = "optimizer"


@dataclass(frozen=True)
class Candidate:
    """An optimizer that is searched over. asked: settings that stay. usual: those it comes with."""

    name: str
    asked: Mapping[str, Setting]
    space: Space
    usual: Mapping[str, Setting]

    @property
    def label(self) -> str:
        return spec(self.name, dict(self.asked))

    def drawn(self, trial: Any) -> str:
        """The spec of a setting that an Optuna trial suggests; three digits, so that labels can be read."""
        found = {hyper: _suggested(trial, f"{self.label}.{hyper}", values) for hyper, values in self.space.items()}
        return spec(self.name, {**self.asked, **found})

    def known(self, distributions: Mapping[str, Any]) -> dict[str, Any]:
        """The usual setting as parameters of Optuna's; what lies outside of the space is left out."""
        found: dict[str, Any] = {}
        for hyper, value in self.usual.items():
            name = f"{self.label}.{hyper}"
            if name in distributions and _holds(self.space[hyper], value):
                found[name] = value
        return found


def distributions(candidates: list[Candidate]) -> dict[str, Any]:
    """{parameter: Optuna's distribution} of all candidates that have a space, and of which of them it is."""
    from optuna.distributions import CategoricalDistribution

    found: dict[str, Any] = {OPTIMIZER: CategoricalDistribution([one.label for one in candidates if one.space])}
    for one in candidates:
        found |= {f"{one.label}.{hyper}": _distribution(values) for hyper, values in one.space.items()}
    return found


def _is_range(values: tuple[Any, ...]) -> bool:
    return len(values) == 3 and values[2] in ("log", "linear")


def _holds(values: tuple[Any, ...], value: Any) -> bool:
    return values[0] <= value <= values[1] if _is_range(values) else value in values


def _distribution(values: tuple[Any, ...]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not _is_range(values):
        return CategoricalDistribution(values)
    low, high, scale = values
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=scale == "log")
    return FloatDistribution(low, high, log=scale == "log")


def _suggested(trial: Any, name: str, values: tuple[Any, ...]) -> Setting:
    if not _is_range(values):
        choice: Setting = trial.suggest_categorical(name, values)
        return choice
    low, high, scale = values
    if isinstance(low, int) and isinstance(high, int):
        whole: int = trial.suggest_int(name, low, high, log=scale == "log")
        return whole
    value = trial.suggest_float(name, low, high, log=scale == "log")
    return min(max(float(f"{value:.3g}"), float(low)), float(high))
