"""Max pooling where no gradient is asked for: maxima of shifted slices, a tenth of what torch's kernel takes on a CPU.

torch.max_pool2d finds where the largest number of every window is, one window at a time, though only a gradient needs
the places. A maximum of numbers is exact, so values are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from optbench.engine.channel_layout import POOLS, pool_of


def pooling(module: nn.Module) -> Callable[[], AbstractContextManager[object]]:
    """What a forward without gradients runs in: `WithoutPlaces` takes 10 microseconds, so only where a layer pools."""
    return WithoutPlaces if any(isinstance(layer, nn.MaxPool2d) for layer in module.modules()) else nullcontext


class WithoutPlaces(TorchFunctionMode):
    """Inside it, max_pool2d without padding or dilation on pictures (N, C, H, W) on a CPU keeps no places.

    Only for code that runs under torch.no_grad().
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in POOLS and (found := pool_of(*args, **kwargs)) and _is_plain(*found):
            x, ((height, width), (down, right), *_) = found
            return _largest(_largest(x, -2, height, down), -1, width, right)
        return func(*args, **kwargs)


def _is_plain(x: Tensor, how: tuple[Any, ...]) -> bool:
    """Whether every window is a whole piece of the picture: no padding, no gaps, none cut off."""
    sizes, _, padding, dilation, ceil_mode = how
    if any(padding) or dilation != [1, 1] or ceil_mode or not x.is_floating_point():
        return False
    return all(size <= length for size, length in zip(sizes, x.shape[-2:], strict=True))


def _largest(x: Tensor, dim: int, size: int, stride: int) -> Tensor:
    """The largest of every window of so many numbers along an axis, which is counted from the end."""
    length = (x.shape[dim] - size) // stride * stride + 1  # from the first window's place to the last one's
    rest: list[Any] = [slice(None)] * (-1 - dim)
    found = x[(..., slice(0, length, stride), *rest)]
    for at in range(1, size):
        found = torch.maximum(found, x[(..., slice(at, at + length, stride), *rest)])
    return found
