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

from optbench.engine.channel_layout import POOLS, pair


def pooling(module: nn.Module) -> Callable[[], AbstractContextManager[object]]:
    """What a forward without gradients runs in: `WithoutPlaces` takes 10 microseconds, so only where a layer pools."""
    return WithoutPlaces if any(isinstance(layer, nn.MaxPool2d) for layer in module.modules()) else nullcontext


class WithoutPlaces(TorchFunctionMode):
    """Inside it, max_pool2d without padding or dilation on pictures (N, C, H, W) on a CPU keeps no places.

    Only for code that runs under torch.no_grad().
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in POOLS and (found := _plain(*args, **kwargs)):
            x, sizes, strides = found
            return _largest(_largest(x, -2, sizes[0], strides[0]), -1, sizes[1], strides[1])
        return func(*args, **kwargs)


def _plain(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Any, ...]:
    """The picture, the sizes of a window and its steps, from the arguments of max_pool2d; none where torch has to."""
    if input.ndim != 4 or input.is_cuda or not input.is_floating_point() or ceil_mode or return_indices:
        return ()
    sizes = pair(kernel_size)
    if (
        any(pair(padding))
        or pair(dilation) != [1, 1]
        or any(size > length for size, length in zip(sizes, input.shape[-2:], strict=True))
    ):
        return ()
    return input, sizes, pair(stride or kernel_size)


def _largest(x: Tensor, dim: int, size: int, stride: int) -> Tensor:
    """The largest of every window of so many numbers along an axis, which is counted from the end."""
    length = (x.shape[dim] - size) // stride * stride + 1  # from the first window's place to the last one's
    rest: list[Any] = [slice(None)] * (-1 - dim)
    found = x[(..., slice(0, length, stride), *rest)]
    for at in range(1, size):
        found = torch.maximum(found, x[(..., slice(at, at + length, stride), *rest)])
    return found
