"""How many networks run at a time: as many as keep their widest activations in a processor core's own cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

MAX_CACHED = 2**18  # numbers in the widest activations of one block: 1 MiB in float32, about what such a cache holds


class _Widest(TorchFunctionMode):
    """Inside it, `numbers` becomes the size of the largest tensor that an operation gives."""

    numbers = 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


def widest_activation(forward: Callable[[], object]) -> int:
    """Numbers in the largest tensor of one network's forward pass; at least 1."""
    with _Widest() as widest:
        forward()
    return widest.numbers


def block_size(networks: int, widest: int) -> int:
    """Networks in each of several blocks of nearly equal size. widest: numbers in one network's widest activation."""
    return even(networks, max(1, MAX_CACHED // widest))


def even(networks: int, most: int) -> int:
    """The size of blocks of at most `most`, as few and as equal as they can be."""
    return math.ceil(networks / math.ceil(networks / most))
