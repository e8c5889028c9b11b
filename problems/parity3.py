"""The parity of three bits, learned by sign units: the best weights on an integer grid are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from optbench.problems.xor_sign import XorSign


@dataclass(frozen=True)
class Parity3(XorSign):
    """A 3-3-1 sign network on the corners of {-1, 1}^3, in binary cross-entropy; see `XorSign`."""

    inputs: ClassVar[int] = 3
