"""Optional packages: absent ones are refused in one line with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from optbench.core.trial import RequestError


def load(package: str, extra: str) -> Any:
    """The module of an optional package. Raises RequestError, with the extra of optbench that brings it, if absent."""
    if find_spec(package) is None:
        raise RequestError(f"this needs the package {package}: python -m pip install 'optbench[{extra}]'")
    return import_module(package)
