"""Tuning: as many quasi-random configurations for every optimizer, from the search space declared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optbench.core.trial import RequestError, Setting, spec
from optbench.optimizers import Space
from optbench.registry.catalog import Built, Catalog
from optbench.registry.specs import parse

_LOG2_DRAWN = 10  # 2 to this power are drawn, so that a space of few choices still gives all of them
_BITS = 30  # of a Sobol coordinate


@dataclass(frozen=True)
class Competitor:
    """One optimizer of a suite: as it was asked for, or the configurations of which one is chosen for each problem.

    hypers: one configuration, or all that are tried. space: what they were drawn from; empty where it runs as it comes.
    """

    name: str
    asked: Mapping[str, Setting]  # what the suite itself fixes
    hypers: tuple[Mapping[str, Setting], ...]
    space: Space
    why: str = ""  # it is not tuned, though the suite tunes
    builts: tuple[Built, ...] = field(default=(), compare=False)  # what each of `hypers` stands for

    @property
    def label(self) -> str:
        return spec(self.name, self.asked)

    @property
    def configurations(self) -> Iterator[tuple[Mapping[str, Setting], Built]]:
        return zip(self.hypers, self.builts, strict=True)


def competitors(specs: Sequence[str], count: int, catalog: Catalog) -> list[Competitor]:
    """Every optimizer of a suite with its configurations: `count` from its space, or the one that was asked for.

    A spec that fixes a setting of its own space was tuned by its author and runs as it stands. Raises RequestError.
    """
    out: dict[str, Competitor] = {}
    for text in specs:
        for name, asked in parse(text):
            as_asked = catalog.optimizer(name, asked)
            space = catalog.space(name) if count else {}
            fixed = sorted(space.keys() & asked.keys())
            if space and not fixed:
                hypers = tuple({**asked, **drawn} for drawn in settings(name, space, count))
                builts = tuple(catalog.optimizer(name, hyper) for hyper in hypers)
                one = Competitor(name, asked, hypers, space, builts=builts)
            else:
                why = f"fixes {', '.join(fixed)}" if fixed else "no search space declared"
                one = Competitor(name, asked, (asked,), {}, why if count else "", (as_asked,))
            out.setdefault(one.label, one)
    return list(out.values())


def settings(name: str, space: Space, count: int) -> list[dict[str, Setting]]:
    """`count` configurations from the space; fewer where it has fewer. The first k of n are the k of a smaller count.

    A Sobol sequence (Joe & Kuo 2008) with a digital shift keyed by the optimizer's name: the same on every machine and
    with every version of scipy, unlike its scrambling. Raises RequestError for a space that makes no sense.
    """
    from scipy.stats import qmc

    for hyper, values in space.items():
        _check(name, hyper, values)
    grid = (qmc.Sobol(len(space), scramble=False, bits=_BITS).random_base2(_LOG2_DRAWN) * 2**_BITS).astype("int64")
    out: list[dict[str, Setting]] = []
    for row in grid:
        shares = [
            ((int(place) ^ _shift(name, hyper)) + 0.5) / 2**_BITS for place, hyper in zip(row, space, strict=True)
        ]
        drawn = {hyper: _at(space[hyper], share) for hyper, share in zip(space, shares, strict=True)}
        if drawn not in out:
            out.append(drawn)
        if len(out) == count:
            break
    return out


def facts(count: int, found: Sequence[Competitor]) -> dict[str, Any]:
    """What the report has to know: which trials are configurations of one optimizer; what was not tuned, and why."""
    return {
        "settings": count,
        "competitors": {
            one.label: {"optimizer": one.name, "space": {hyper: list(values) for hyper, values in one.space.items()}}
            | ({"why": one.why} if one.why else {"labels": [spec(one.name, hyper) for hyper in one.hypers]})
            for one in found
        },
    }


def _shift(name: str, hyper: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{name} {hyper}".encode()).digest()[:4], "big") >> (32 - _BITS)


def _is_range(values: Sequence[Any]) -> bool:
    return len(values) == 3 and values[2] in ("log", "linear")


def _check(name: str, hyper: str, values: Any) -> None:
    where = f"search space of {name}: {hyper} = {values!r}"
    if not isinstance(values, tuple | list) or not values:
        raise RequestError(f"{where} is neither (low, high, 'log' or 'linear') nor a tuple of choices")
    if not _is_range(values):
        return
    low, high, scale = values
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)) or not low < high:
        raise RequestError(f"{where}: the ends must be two numbers, the lower first")
    if scale == "log" and low <= 0:
        raise RequestError(f"{where}: a log scale begins above 0")


def _at(values: Sequence[Any], share: float) -> Setting:
    """The value at a share in (0, 1) of a range or of the choices; three digits, so that labels can be read."""
    if not _is_range(values):
        choice: Setting = values[int(share * len(values))]
        return choice
    low, high, scale = values
    value = low * (high / low) ** share if scale == "log" else low + (high - low) * share
    if isinstance(low, int) and isinstance(high, int):
        return min(max(round(value), low), high)
    return min(max(float(f"{value:.3g}"), float(low)), float(high))
