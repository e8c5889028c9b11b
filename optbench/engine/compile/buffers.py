"""A graph of tensor operations whose results lie in memory that is kept from call to call.

Fresh memory costs a page fault every four kilobytes, and it pushes out of the cache what the next operation is about to
read. So a result is written over an operand that is read for the last time, or else into a buffer, which goes to the
next result of that size as soon as nobody will read it again (register allocation by liveness, Chaitin 1982). Views of
buffers, always the same tensors, are made once, and so is whatever depends on shapes alone.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from operator import getitem
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

_ATEN = torch.ops.aten
_FROM_SHAPES = {
    _ATEN.ones_like.default,
    _ATEN.zeros_like.default,
    _ATEN.full_like.default,
    _ATEN.new_ones.default,
    _ATEN.new_zeros.default,
    _ATEN.new_full.default,
    _ATEN.ones.default,
    _ATEN.zeros.default,
    _ATEN.full.default,
    _ATEN.arange.default,
    _ATEN.arange.start,
    _ATEN.scalar_tensor.default,
}
_VIEWS = {getitem, _ATEN._unsafe_view.default}  # beside those whose schema says so


def buffered(root: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """The graph, traced from real tensors, as a module that keeps its results in buffers, but for those it returns.

    root: holds the tensors that the graph refers to by name. Not for two threads at once. A result that is only copied
    into an input is written there at once.
    """
    return _Allotment(root, graph).module


class _Allotment:
    """Which result lies where. An owner is a node that stands for the memory which its operation asked for."""

    def __init__(self, root: nn.Module, graph: fx.Graph) -> None:
        self.module = fx.GraphModule(root, graph)
        self._graph = self.module.graph
        nodes = list(self._graph.nodes)
        self._owner = owners(self._graph)
        self._last: dict[fx.Node, int] = {}  # where an owner's memory is read for the last time
        for place, node in enumerate(nodes):
            for read in node.all_input_nodes:
                self._last[self._owner[read]] = place
        self._returned = {self._owner[node] for node in nodes[-1].all_input_nodes}
        self._changed = {self._owner[node] for node in nodes if works_in_place(node)}
        self._constant: set[fx.Node] = set()  # owners whose numbers are the same in every call
        # The tensor, or the tensors, that a node gives in every call.
        named = self._graph.find_nodes(op="get_attr")
        self._fixed: dict[fx.Node, Any] = {node: getattr(self.module, str(node.target)) for node in named}
        self._buffers: dict[fx.Node, list[Tensor]] = {}  # what an owner has been given
        self._free: dict[Any, list[Tensor]] = defaultdict(list)
        self._gone: set[fx.Node] = set()
        for place, node in enumerate(nodes):
            if node.op == "call_function" and node not in self._gone:
                self._allot(node, place)
            for owner in [owner for owner in self._buffers if self._last.get(owner, place) <= place]:
                for buffer in self._buffers.pop(owner):
                    self._free[buffer.numel(), buffer.dtype].append(buffer)
        for node in list(self._graph.nodes):
            if node.op == "get_attr" and not node.users:
                self._erase(node)
            elif node.op == "call_function":
                node.target = _bound(node.target)
        self.module.recompile()

    def _allot(self, node: fx.Node, place: int) -> None:
        owner, reads = self._owner[node], node.all_input_nodes
        if self._is_constant(node):
            self._constant.add(owner)
            self._fix_result(node)
        elif works_in_place(node):
            if reads[0] in self._fixed:
                self._fix(node, self._fixed[reads[0]])
        elif is_view(node):
            if reads[0] in self._fixed:
                self._fix_result(node)
            elif all(_is_tensor(one) for one in (node, reads[0])) and _layout(node) == _layout(reads[0]):
                node.replace_all_uses_with(reads[0])
                self._erase(node)
        else:
            self._give_memory(node, place)

    def _is_constant(self, node: fx.Node) -> bool:
        owner = self._owner[node]
        if owner in self._changed | self._returned:
            return False
        if owner is not node:
            return owner in self._constant
        if node.target in _FROM_SHAPES:
            return True
        sources = {self._owner[read] for read in node.all_input_nodes}
        return bool(sources) and sources <= self._constant and not draws(node.target)

    def _give_memory(self, node: fx.Node, place: int) -> None:
        over, given = self._spent(node, place), self._destination(node)
        form, names = _filling(node.target, node.meta["val"])
        if form and given:
            copy = next(iter(node.users))
            copy.replace_all_uses_with(given)
            self._erase(copy)
            self._fill(node, form, names, [given])
        elif form and node not in self._returned:
            if over is None:
                self._fill(node, form, names, self._new_buffers(node))
            else:
                self._fill(node, form, names, [over])
                self._take_over(node, over)
        elif over is not None and over is node.args[0] and (form := _in_place(node.target)):
            node.target = form
            self._take_over(node, over)

    def _fill(self, node: fx.Node, form: OpOverload, names: tuple[str, ...], memory: list[fx.Node]) -> None:
        node.target, node.kwargs = form, {**node.kwargs, **dict(zip(names, memory, strict=True))}

    def _spent(self, node: fx.Node, place: int) -> fx.Node | None:
        """An operand that the result may be written over: laid out like it, read by nobody else and never again."""
        if not isinstance(node.target, OpOverload) or torch.Tag.pointwise not in node.target.tags:
            return None
        for read in node.all_input_nodes:
            owner = self._owner[read]
            alone = all(other is read or self._owner[other] is not owner for other in node.all_input_nodes)
            fresh = owner.op == "call_function" and owner not in self._constant | self._returned
            kept = owner in self._buffers and node in self._returned
            if alone and fresh and not kept and self._last[owner] == place and _layout(read) == _layout(node):
                return read
        return None

    def _destination(self, node: fx.Node) -> fx.Node | None:
        """The input that the result is copied into, where nothing else is done with either."""
        if len(node.users) != 1:
            return None
        copy = next(iter(node.users))
        if copy.target is not _ATEN.copy_.default or copy.args[1] is not node:
            return None
        target: Any = copy.args[0]
        wanted = target.op == "placeholder" and len(target.users) == 1 and _layout(target) == _layout(node)
        return target if wanted else None

    def _new_buffers(self, node: fx.Node) -> list[fx.Node]:
        """One for every tensor that the node gives: freed ones where there are such."""
        flats, tensors = [], []
        for like in _several(node.meta["val"]):
            size = 1 + sum((n - 1) * step for n, step in zip(like.shape, like.stride(), strict=True))
            size = size if like.numel() else 0
            free = self._free[size, like.dtype]
            flats.append(free.pop() if free else torch.empty(size, dtype=like.dtype, device=like.device))
            tensors.append(flats[-1].as_strided(like.shape, like.stride()))
        self._buffers[node] = flats
        held = [self._held(node, tensor) for tensor in tensors]
        self._fix(node, tensors if len(tensors) > 1 else tensors[0])
        return held

    def _take_over(self, node: fx.Node, over: fx.Node) -> None:
        """The node's result lies in the memory of one of its operands from now on."""
        owner = self._owner[over]
        if owner in self._buffers:
            self._buffers[node] = self._buffers.pop(owner)
        if over in self._fixed:
            self._fix(node, self._fixed[over])

    def _erase(self, node: fx.Node) -> None:
        self._graph.erase_node(node)
        self._gone.add(node)

    def _fix_result(self, node: fx.Node) -> None:
        """Do the operation now and never again."""
        operation: Any = node.target
        self._fix(node, operation(*fx.map_arg(node.args, self._example), **node.kwargs))
        self._erase(node)

    def _fix(self, node: fx.Node, value: Any) -> None:
        """Let whoever reads the node read this value, which is the same in every call."""
        node.replace_all_uses_with(self._held(node, value))

    def _held(self, node: fx.Node, value: Any) -> fx.Node:
        """A value that the module holds, made known before the node."""
        name = f"held_{len(self._fixed)}"
        setattr(self.module, name, value)  # not a registered buffer: those are slow to read
        with self._graph.inserting_before(node):
            held = self._graph.create_node("get_attr", name)
        held.meta, self._owner[held], self._fixed[held] = node.meta, self._owner[node], value
        return held

    def _example(self, node: fx.Node) -> Any:
        """What the node gives in every call, or something of its shape."""
        if node in self._fixed:
            return self._fixed[node]
        like = node.meta["val"]
        return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)


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


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)


def _several(value: Any) -> tuple[Any, ...]:
    """The tensors that a node gives; None stands for gradients that nobody asked for."""
    return (value,) if value is None or isinstance(value, Tensor) else tuple(value)


def _layout(node: fx.Node) -> tuple[Any, ...]:
    """Shape, strides and type of what a node gives."""
    made = _several(node.meta.get("val"))
    return tuple(one if one is None else (one.shape, one.stride(), one.dtype) for one in made)


def _filling(operation: Any, made: Any) -> tuple[Any, tuple[str, ...]]:
    """The form of an operation that fills given memory, if the device has a kernel for it, and how it names that."""
    if not isinstance(operation, OpOverload) or not all(isinstance(t, Tensor) for t in _several(made)):
        return None, ()
    return _out_form(operation, torch.DispatchKey.CUDA if _several(made)[0].is_cuda else torch.DispatchKey.CPU)


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
def _in_place(operation: Any) -> Any:
    """The form of an operation that works on its first operand's own memory."""
    packet = getattr(_ATEN, f"{operation.overloadpacket.__name__}_", None)
    return getattr(packet, operation._schema.overload_name or "default", None)


def _bound(operation: Any) -> Any:
    """torch's own function for an operation, which costs a microsecond less to call, where there is one."""
    if not isinstance(operation, OpOverload) or not {a.name for a in operation._schema.arguments if a.is_out} <= {
        "out"
    }:
        return operation
    name = operation.overloadpacket.__name__
    found = getattr(torch, name, None) or getattr(Tensor, name, None)
    return found if isinstance(found, (BuiltinFunctionType, MethodDescriptorType)) else operation
