"""What one operation of a traced graph does with its operands' memory, and its forms that take memory from outside."""

from __future__ import annotations

from functools import cache
from operator import getitem
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

_ATEN = torch.ops.aten
_VIEWS = {getitem, _ATEN._unsafe_view.default}  # beside those whose schema says so


def owners(graph: fx.Graph) -> dict[fx.Node, fx.Node]:
    """For every node the one whose operation asked for the memory that its result lies in."""
    found: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        found[node] = found[node.args[0]] if is_view(node) or works_in_place(node) else node
    return found


def is_view(node: fx.Node) -> bool:
    """Whether the result is the first operand, seen otherwise."""
    if node.target in _VIEWS:
        return True
    if not isinstance(node.target, OpOverload) or written(node):
        return False
    return any(returned.alias_info is not None for returned in node.target._schema.returns)


def works_in_place(node: fx.Node) -> bool:
    """Whether the operation changes its first operand and gives it back."""
    return written(node) == (0,)


def written(node: fx.Node) -> tuple[int, ...]:
    """Which operands the operation changes, by position."""
    if not isinstance(node.target, OpOverload):
        return ()
    taken = enumerate(node.target._schema.arguments)
    return tuple(place for place, a in taken if a.alias_info is not None and a.alias_info.is_write)


def draws(operation: Any) -> bool:
    """Whether the operation draws random numbers."""
    return isinstance(operation, OpOverload) and torch.Tag.nondeterministic_seeded in operation.tags


def is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def tensors_of(value: Any) -> tuple[Any, ...]:
    """The tensors that a node gives; None stands for gradients that nobody asked for."""
    return (value,) if value is None or isinstance(value, Tensor) else tuple(value)


def layout(node: fx.Node) -> tuple[Any, ...]:
    """Shape, strides and type of what a node gives."""
    made = tensors_of(node.meta.get("val"))
    return tuple(one if one is None else (one.shape, one.stride(), one.dtype) for one in made)


def filling_form(operation: Any, made: Any) -> tuple[Any, tuple[str, ...]]:
    """The form of an operation that fills given memory, if the device has a kernel for it, and how it names that."""
    if not isinstance(operation, OpOverload) or not all(isinstance(t, Tensor) for t in tensors_of(made)):
        return None, ()
    return _out_form(operation, torch.DispatchKey.CUDA if tensors_of(made)[0].is_cuda else torch.DispatchKey.CPU)


@cache
def _out_form(operation: Any, key: torch.DispatchKey) -> tuple[Any, tuple[str, ...]]:
    taken = [(a.name, str(a.type)) for a in operation._schema.arguments]
    packet = operation.overloadpacket
    for name in packet.overloads():
        form = getattr(packet, name)
        filled = tuple(a.name for a in form._schema.arguments if a.is_out)
        rest = [(a.name, str(a.type)) for a in form._schema.arguments if not a.is_out]
        if filled and rest == taken and form.has_kernel_for_dispatch_key(key):
            return form, filled
    return None, ()


@cache
def in_place_form(operation: Any) -> Any:
    """The form of an operation that works on its first operand's own memory."""
    packet = getattr(_ATEN, f"{operation.overloadpacket.__name__}_", None)
    return getattr(packet, operation._schema.overload_name or "default", None)


def direct_call(operation: Any) -> Any:
    """torch's own function for an operation, which costs a microsecond less to call, where there is one."""
    if not isinstance(operation, OpOverload) or not {a.name for a in operation._schema.arguments if a.is_out} <= {
        "out"
    }:
        return operation
    name = operation.overloadpacket.__name__
    found = getattr(torch, name, None) or getattr(Tensor, name, None)
    return found if isinstance(found, (BuiltinFunctionType, MethodDescriptorType)) else operation
