"""Certificates: what an exact method claims of its result. A forward pass checks `upper`; nothing checks `lower`."""

from __future__ import annotations

import math
from textwrap import shorten
from typing import Any

import torch

MAX_SCOPE = 80  # characters of a scope: it stands in a sentence
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}  # relative to max(1, |upper|)


class CertificateError(ValueError):
    """A certificate that a forward pass of the network does not bear out."""


def check_finite(upper: float) -> None:
    """Raise CertificateError for a claimed loss that is no number."""
    if not math.isfinite(upper):
        raise CertificateError(f"certified {upper!r}, which is no loss")


def certificate(loss: float, lower: float, upper: float, scope: str, dtype: torch.dtype) -> dict[str, Any]:
    """The certificate as a record has it; a long scope is cut.

    loss: what the network's forward pass gives. upper: the loss that is claimed. lower: nothing in `scope` is below it.
    Raises CertificateError where loss and upper differ by more than the tolerance, or lower is above upper.
    """
    tolerance = TOLERANCE.get(dtype, TOLERANCE[torch.float64]) * max(1.0, abs(upper))
    if not abs(loss - upper) <= tolerance:
        raise CertificateError(f"certified {upper!r}, but the network's forward pass gives {loss!r}")
    if not lower <= upper + tolerance:
        raise CertificateError(f"the lower bound {lower!r} is above the upper bound {upper!r}")
    return {
        "lower": lower,
        "upper": upper,
        "scope": shorten(scope, MAX_SCOPE, placeholder="..."),
        "exact": upper - lower <= tolerance,
    }
