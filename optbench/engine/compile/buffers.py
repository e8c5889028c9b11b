"""A graph of tensor operations whose results lie in memory that is kept from call to call.

Fresh memory costs a page fault every four kilobytes, and it pushes out of the cache what the next operation is about to
read. So a result is written over an operand that is read for the last time, or else into a buffer, which goes to the
next result of that size as soon as nobody will read it again (register allocation by liveness, Chaitin 1982). Views of
buffers, always the same tensors, are made once, and so is whatever depends on shapes alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from optbench.engine.compile.operations import (
    direct_call,
    draws,
    filling_form,
    in_place_form,
    is_tensor,
    is_view,
    layout,
    owners,
    tensors_of,
    works_in_place,
)

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
                node.target = direct_call(node.target)
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
            elif all(is_tensor(one) for one in (node, reads[0])) and layout(node) == layout(reads[0]):
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
        form, names = filling_form(node.target, node.meta["val"])
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
        elif over is not None and over is node.args[0] and (form := in_place_form(node.target)):
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
            if alone and fresh and not kept and self._last[owner] == place and layout(read) == layout(node):
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
        wanted = target.op == "placeholder" and len(target.users) == 1 and layout(target) == layout(node)
        return target if wanted else None

    def _new_buffers(self, node: fx.Node) -> list[fx.Node]:
        """One for every tensor that the node gives: freed ones where there are such."""
        flats, tensors = [], []
        for like in tensors_of(node.meta["val"]):
            size = 1 + sum((n - 1) * step for n, step in zip(like.shape, like.stride(), strict=True))
            size = size if like.numel() else 0
            free = self._free[size, like.dtype]
            flats.append(free.pop() if free else torch.empty(size, dtype=like.dtype, device=like.device))
            tensors.append(flats[-1].as_strided(like.shape, like.stride()))
        self._buffers[node] = flats
        known = [self._constant_node(node, tensor) for tensor in tensors]
        self._fix(node, tensors if len(tensors) > 1 else tensors[0])
        return known

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
        node.replace_all_uses_with(self._constant_node(node, value))

    def _constant_node(self, node: fx.Node, value: Any) -> fx.Node:
        """A value that the module keeps, made known before the node."""
        name = f"kept_{len(self._fixed)}"
        setattr(self.module, name, value)  # not a registered buffer: those are slow to read
        with self._graph.inserting_before(node):
            known = self._graph.create_node("get_attr", name)
        known.meta, self._owner[known], self._fixed[known] = node.meta, self._owner[node], value
        return known

    def _example(self, node: fx.Node) -> Any:
        """What the node gives in every call, or something of its shape."""
        if node in self._fixed:
            return self._fixed[node]
        like = node.meta["val"]
        return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
