"""Convolutions and max pooling of B lanes as those of one network: B pictures (N, C, H, W) become one (N, B * C, H, W).

The channels of all lanes lie side by side, innermost in memory ("channels last"). There torch's own kernels are fast:
on a CPU its max pooling takes a twentieth of what it takes with the pixels innermost, and activations pass from layer
to layer as they are. vmap alone puts the lanes among the samples for pooling, which copies every activation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

POOLS = (F.max_pool2d, torch.max_pool2d)  # two functions, where F.conv2d is torch.conv2d
_ATEN = torch.ops.aten
PICTURES, WEIGHTS = 1, 0  # the axis of a tensor that the lanes are merged into: channels; outputs of a convolution


class ChannelLayout(TorchFunctionMode):
    """Inside it, conv2d with a bias and max_pool2d on (N, C, H, W) on a CPU take vmap's lanes as channels."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d and (found := _convolution(*args, **kwargs)):
            return _Convolve.apply(*found)
        if func in POOLS and (found := pool_of(*args, **kwargs)):
            return _Pool.apply(*found)[0]
        return func(*args, **kwargs)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    """The arguments of `_Convolve` from those of conv2d; none where it is left to vmap."""
    if bias is None or isinstance(padding, str) or not _usual(input):
        return ()
    return input, weight, bias, (pair(stride), pair(padding), pair(dilation)), groups


def pool_of(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Any, ...]:
    """The picture and [size, step, padding, dilation, ceil_mode] of max_pool2d; none where it is left to torch."""
    if return_indices or not _usual(input):
        return ()
    return input, (pair(kernel_size), pair(stride or kernel_size), pair(padding), pair(dilation), ceil_mode)


def _usual(x: Tensor) -> bool:
    return x.ndim == 4 and not x.is_cuda and not torch.is_autocast_enabled("cpu")


def pair(value: Any) -> list[int]:
    """What torch takes as one number for both axes of a picture, or as one each."""
    return [value, value] if isinstance(value, int) else [*value, *value][:2]


def _merged(x: Tensor, lanes: int, dim: int | None, axis: int) -> Tensor:
    """The lanes, now axis `dim` (None: all lanes have the same), merged into `axis` of what one lane has."""
    x = x.expand(lanes, *x.shape).movedim(0, axis) if dim is None else x.movedim(dim, axis)
    x = x.flatten(axis, axis + 1)
    return x.contiguous(memory_format=torch.channels_last) if axis == PICTURES else x


def _apart(x: Tensor, lanes: int, axis: int) -> Tensor:
    """The other way round: the lanes become an axis of their own, at `axis`."""
    return x.unflatten(axis, (lanes, -1))


class _Convolve(Function):
    """conv2d; how: stride, padding and dilation. B lanes of it are one with B times the groups."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, how: Any, groups: int) -> Tensor:
        found: Tensor = _ATEN.convolution(x, weight, bias, *how, False, [0, 0], groups)
        return found

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, _, ctx.how, ctx.groups = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        found = _ConvolveBack.apply(gradient, *ctx.saved_tensors, ctx.how, ctx.groups, ctx.needs_input_grad[0])
        return *found, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, x: Tensor, weight: Tensor, bias: Tensor, how: Any, groups: int) -> Any:
        lanes = info.batch_size
        x = _merged(x, lanes, dims[0], PICTURES)
        weight, bias = _merged(weight, lanes, dims[1], WEIGHTS), _merged(bias, lanes, dims[2], WEIGHTS)
        return _apart(_Convolve.apply(x, weight, bias, how, lanes * groups), lanes, PICTURES), PICTURES


class _ConvolveBack(Function):
    """The gradients of input (where it needs one), weight and bias."""

    @staticmethod
    def forward(gradient: Tensor, x: Tensor, weight: Tensor, how: Any, groups: int, deep: bool) -> Any:
        parts = [deep, True, False]
        into, weights, _ = _ATEN.convolution_backward(gradient, x, weight, None, *how, False, [0, 0], groups, parts)
        table = gradient.permute(0, 2, 3, 1).flatten(0, 2)  # (N * H * W, C): a product sums it faster than a sum
        return into, weights, (table.new_ones(1, len(table)) @ table)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: there is no second derivative."""

    @staticmethod
    def vmap(info: Any, dims: Any, gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> Any:
        lanes, (how, groups, deep) = info.batch_size, rest
        gradient, x = _merged(gradient, lanes, dims[0], PICTURES), _merged(x, lanes, dims[1], PICTURES)
        weight = _merged(weight, lanes, dims[2], WEIGHTS)
        into, weights, bias = _ConvolveBack.apply(gradient, x, weight, how, lanes * groups, deep)
        into = _apart(into, lanes, PICTURES) if deep else None
        found = into, _apart(weights, lanes, WEIGHTS), _apart(bias, lanes, WEIGHTS)
        return found, (PICTURES if deep else None, WEIGHTS, WEIGHTS)


class _Pool(Function):
    """max_pool2d and where the largest were; how: the other arguments. A channel is pooled by itself."""

    @staticmethod
    def forward(x: Tensor, how: Any) -> Any:
        return _ATEN.max_pool2d_with_indices(x, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.how = inputs[1]
        ctx.save_for_backward(inputs[0], output[1])
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> Any:
        return _PoolBack.apply(gradient, *ctx.saved_tensors, ctx.how), None

    @staticmethod
    def vmap(info: Any, dims: Any, x: Tensor, how: Any) -> Any:
        found = _Pool.apply(_merged(x, info.batch_size, dims[0], PICTURES), how)
        return tuple(_apart(part, info.batch_size, PICTURES) for part in found), (PICTURES, PICTURES)


class _PoolBack(Function):
    """The gradient of the input of max_pool2d."""

    @staticmethod
    def forward(gradient: Tensor, x: Tensor, places: Tensor, how: Any) -> Any:
        return _ATEN.max_pool2d_with_indices_backward(gradient, x, *how, places)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing to keep: there is no second derivative."""

    @staticmethod
    def vmap(info: Any, dims: Any, gradient: Tensor, x: Tensor, places: Tensor, how: Any) -> Any:
        lanes, pictures = info.batch_size, zip((gradient, x, places), dims, strict=False)  # `how` has no lanes
        merged = (_merged(picture, lanes, dim, PICTURES) for picture, dim in pictures)
        return _apart(_PoolBack.apply(*merged, how), lanes, PICTURES), PICTURES
