"""Conformance checks for plugins, and files to start one from. Importing it imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optbench.testing.conformance import Finding, check

__all__ = ["Finding", "check"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optbench.testing import conformance

    return getattr(conformance, name)
