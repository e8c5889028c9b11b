"""What tests write into plugin files, and how they run quietly."""

from __future__ import annotations

HEAD = """
import math, os, sys, time
from dataclasses import dataclass
from typing import ClassVar
import torch

class Base:
    needs: ClassVar[str] = "value"
    lanes: ClassVar[bool] = True
"""


def quiet(*_: object) -> None:
    """Say nothing."""
