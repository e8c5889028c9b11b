"""Numbers that two processes have in common: a file that both of them map."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from optbench.core.watching import uncounted


class Board:
    """So many numbers that one process writes for the other, and as many for the way back."""

    def __init__(self, path: str, numbers: int, dtype: torch.dtype) -> None:
        """Map a file that `create` has made. Raises OSError or RuntimeError where it cannot be mapped."""
        self.path, self.numbers = path, numbers
        with uncounted():  # to make room is no work of an optimizer
            whole = torch.from_file(path, shared=True, size=2 * numbers, dtype=dtype)
        self.asked, self.answered = whole[:numbers], whole[numbers:]

    @classmethod
    def create(cls, path: Path, numbers: int, dtype: torch.dtype) -> Board:
        """A new file. Its room is taken at once: a disk that is full later would end the process. Raises OSError."""
        size = 2 * numbers * dtype.itemsize
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        return cls(str(path), numbers, dtype)
