"""From a class and the settings that a user asks for to an object; every setting that it does not take is refused."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from inspect import signature
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import torch
from torch import nn

from optbench.core.trial import RequestError
from optbench.optimizers.gradient.combination import DECAYED, Combination, Part, base_argument, required
from optbench.optimizers.gradient.elementwise import arguments
from optbench.optimizers.gradient.kernels import KERNELS
from optbench.optimizers.gradient.probes import is_fused
from optbench.optimizers.gradient.rules import NO_RULE, Rule
from optbench.optimizers.gradient.schedules import Schedule
from optbench.optimizers.gradient.shaping import SHAPING, Shaping
from optbench.optimizers.gradient.torch_optim import TorchOptim
from optbench.registry.specs import one_line

_PART_ALONE = {"decay_on", "kernels"}  # our settings of a part, which a plain torch optimizer has not


def construct(cls: Any, settings: Mapping[str, Any], text: str, typed: bool = True) -> Any:
    """An object of the class, its settings the fields of a dataclass. Raises RequestError; `text` is what was asked.

    typed: what its annotations name can be looked up; not so where the class came without its module.
    """
    known = {f.name: f for f in fields(cls)} if hasattr(cls, "__dataclass_fields__") else {}
    hints = _hints(cls, text) if known and typed else dict.fromkeys(known, Any)
    checked = dict(settings)
    for name, value in settings.items():
        if name not in known:
            raise RequestError(f"{text}: unknown setting {name!r}, {_nearest_setting(name, known)}")
        checked[name] = _coerce(value, hints[name], f"{text}: {name}={value!r}")
    if missing := [n for n, f in known.items() if n not in settings and f.default is f.default_factory is MISSING]:
        raise RequestError(f"{text}: setting {missing[0]!r} has no default, write {text}[{missing[0]}=...]")
    try:
        return cls(**checked)
    except (ValueError, TypeError, ModuleNotFoundError) as error:  # the last: a wrapped package that is not installed
        raise RequestError(f"{text}: {' '.join(str(error).split())}") from None
    except (Exception, SystemExit) as error:
        raise RequestError(f"{text}: {one_line(error)}") from None


def _hints(cls: Any, text: str) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except Exception as error:  # an annotation that names what is not there
        raise RequestError(f"{text}: the annotations of {cls.__name__}: {one_line(error)}") from None


def _coerce(value: Any, hint: Any, where: str) -> Any:
    """The value as the field's plain type; other annotations are left to the class itself."""
    plain = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if not set(plain) <= {int, float, bool, str, type(None)} or type(value) in plain:
        return value
    if float in plain and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise RequestError(f"{where} is not {' or '.join(kind.__name__ for kind in plain)}")


# What a setting is called elsewhere, and what optimizers call it here; the first that the class takes is suggested.
_ALSO_CALLED = {
    "learning_rate": ("lr",),
    "learningrate": ("lr",),
    "step_size": ("lr", "step", "sigma"),
    "eta": ("lr",),
    "alpha": ("lr",),
    "rate": ("lr",),
    "wd": ("weight_decay",),
    "l2": ("weight_decay",),
    "beta1": ("betas", "momentum"),
    "beta2": ("betas",),
    "batch_size": ("batch",),
    "population": ("swarm", "ants", "pairs"),
    "population_size": ("population", "swarm", "ants", "pairs"),
    "popsize": ("population", "swarm", "ants", "pairs"),
    "particles": ("swarm",),
}


def _nearest_setting(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    found = [own for own in _ALSO_CALLED.get(name.lower(), ()) if own in names]
    found = found or difflib.get_close_matches(name, names, 1, 0.5)
    return f"did you mean {found[0]!r}?" if found else f"it takes {', '.join(names) or 'none'}"


def adapt(cls: type[torch.optim.Optimizer], settings: Mapping[str, Any], text: str) -> TorchOptim | Combination:
    """The adapter of a torch optimizer with its arguments and a schedule. Raises RequestError; `text` as above.

    A class that cannot be built as it comes, without any setting, is no bad request: it costs its own trials alone.
    """
    if cls.step is torch.optim.Optimizer.step and not is_fused(cls):
        raise RequestError(f"{text}: {cls.__name__} has no step of its own, it is a base class")
    if base_argument(cls):
        raise RequestError(f"{text}: {cls.__name__} wraps another optimizer, write {text}(adamw[lr=0.001])")
    shape = shaping([(cls, settings)], text)
    settings = without_shaping(cls, settings)
    if required(cls) or _PART_ALONE & settings.keys():
        return Combination((part(cls, settings, text),), shape)
    _check(cls, settings, {"schedule", "warmup"}, text, _shapes(cls))
    inner, outer = _divided(settings, {"schedule", "warmup"})
    try:
        return TorchOptim(cls, inner, **outer, shaping=shape)
    except (Exception, SystemExit):  # as a part it may be built, or the reason is told there
        return Combination((part(cls, settings, text),), shape)


def shaping(parts: Sequence[tuple[Any, Mapping[str, Any]]], text: str) -> Shaping:
    """What the settings of (class, settings) say on gradients and points, once for all. Raises RequestError."""
    found: dict[str, Any] = {}
    for cls, settings in parts:
        for name in _shapes(cls) & settings.keys():
            if name in found:
                raise RequestError(f"{text}: the parts share {name}, write {name}={found[name]} once")
            found[name] = settings[name]
    try:
        shape = Shaping(**found)
    except ValueError as error:
        raise RequestError(f"{text}: {error}") from None
    if shape.gradients and (fused := [cls for cls, _ in parts if is_fused(cls)]):
        raise RequestError(
            f"{text}: {fused[0].__name__} updates within its backward pass, no gradient can be clipped or accumulated; "
            "it takes ema and swa"
        )
    return shape


def without_shaping(cls: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are the class's own, or the schedule's."""
    return {name: value for name, value in settings.items() if name not in _shapes(cls)}


def _shapes(cls: Any) -> set[str]:
    """Names of our settings of gradients and points; a class that has one of the name keeps it."""
    return set(SHAPING) - set(arguments(cls))


def part(cls: Any, settings: Mapping[str, Any], text: str, base: Part | None = None, taken: Rule = NO_RULE) -> Part:
    """One class of a combination. Raises RequestError; `text` is what was asked for it."""
    wanted = base_argument(cls)
    if base and not wanted:
        raise RequestError(f"{text}: {cls.__name__} wraps no other optimizer, write {text} + {base.cls.__name__}")
    if wanted and not base:
        raise RequestError(f"{text}: {cls.__name__} wraps another optimizer, write {text}(adamw[lr=0.001])")
    own = {"schedule", "warmup", *_PART_ALONE}
    _check(cls, settings, own, text, _shapes(cls))
    inner, outer = _divided(settings, own)
    decay_on = outer.pop("decay_on", "all")
    if decay_on not in DECAYED or (decay_on != "all" and "weight_decay" not in arguments(cls)):
        raise RequestError(
            f"{text}: decay_on={decay_on!r} is none of {', '.join(DECAYED)}, for a class with weight_decay"
        )
    kernels = outer.pop("kernels", KERNELS[0])
    if kernels not in KERNELS:
        raise RequestError(f"{text}: kernels={kernels!r} is none of {', '.join(KERNELS)}: write kernels=matrices")
    if base and base.kernels != KERNELS[0]:
        raise RequestError(f"{text}: the base gets what its wrapper gets, write {text}[kernels={base.kernels}]")
    try:
        schedule = Schedule(**{"name" if key == "schedule" else key: value for key, value in outer.items()})
        found = Part(cls, inner, base, taken, schedule, decay_on, kernels)
        if not required(cls):
            found.on([nn.Parameter(torch.zeros(2, 2))], {})  # the class checks its own ranges
    except (Exception, SystemExit) as error:
        if not settings:
            return Part(cls, inner, base, taken)
        raise RequestError(f"{text}: {' '.join(str(error).split())}") from None
    return found


def _divided(settings: Mapping[str, Any], own: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the class takes, and what is ours."""
    inner = {name: value for name, value in settings.items() if name not in own}
    return inner, {name: value for name, value in settings.items() if name in own}


def _check(cls: Any, settings: Mapping[str, Any], own: set[str], text: str, taken: set[str]) -> None:
    """taken: names that are ours and have been dealt with."""
    known = own | set(arguments(cls)) | taken
    for name in settings:
        if name not in known:
            raise RequestError(f"{text}: unknown setting {name!r}, {_nearest_setting(name, known)}")
    for name, parameter in signature(cls.__init__).parameters.items():
        if name in settings and (wanted := _unlike(settings[name], parameter.default)):
            raise RequestError(f"{text}: {name}={settings[name]!r} is not {wanted}")
    if lost := [name for name, value in settings.items() if isinstance(value, float) and not math.isfinite(value)]:
        raise RequestError(f"{text}: {lost[0]}={settings[lost[0]]} is not finite")


def _unlike(value: Any, default: Any) -> str | None:
    """What kind of value a torch optimizer's argument takes, as its default tells, where this is none."""
    if isinstance(default, tuple):
        return None if isinstance(value, tuple) else f"a tuple like {default}"
    if isinstance(default, int | float) and isinstance(value, str | tuple):
        return "True or False" if isinstance(default, bool) else "a number"
    return None
