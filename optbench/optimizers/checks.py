"""One way to refuse a setting, used by every optimizer here."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any


def check(holds: bool, name: str, value: object, valid: str) -> None:
    """Raise ValueError with the setting, its value and the valid range unless `holds`."""
    if not holds:
        raise ValueError(f"{name}={value!r}: {valid}")


def check_count(name: str, value: Any, least: int) -> None:
    """An integer of at least `least`. Raises ValueError."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    check(whole and value >= least, name, value, f"a whole number of at least {least}")


def check_positive(name: str, value: Any, zero: bool = False) -> None:
    """A finite number above 0, or from 0 on where `zero` allows it. Raises ValueError."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    valid = "a finite number, 0 or more" if zero else "a finite number above 0"
    check(number and (value >= 0 if zero else value > 0), name, value, valid)


def check_package(optimizer: str, package: str) -> None:
    """Raise ModuleNotFoundError, with the command that installs it, where an optional package is absent."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"{optimizer} needs the package {package}: pip install {package}", name=package)
