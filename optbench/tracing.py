"""A function of tensors as its bare tensor operations, for what runs again and again in the same shapes."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_not
from typing import Any

import torch
from torch import Tensor, fx

# Operations that pass on their input's memory; that fill memory of their own, with the form that fills given memory;
# and activations that can work in place.
_ATEN = torch.ops.aten
_VIEWS = {_ATEN.view.default, _ATEN._unsafe_view.default, _ATEN.transpose.int, _ATEN.expand.default}
_PASSES = {*_VIEWS, _ATEN.add_.Tensor}
_FILLS = {
    _ATEN.mm.default: _ATEN.mm.out,
    _ATEN.bmm.default: _ATEN.bmm.out,
    _ATEN._log_softmax.default: _ATEN._log_softmax.out,
    _ATEN.cat.default: _ATEN.cat.out,
    _ATEN.gather.default: _ATEN.gather.out,
    _ATEN.sub.Tensor: _ATEN.sub.out,
    _ATEN.pow.Tensor_Scalar: _ATEN.pow.Tensor_Scalar_out,
}
_IN_PLACE = {
    _ATEN.relu.default: _ATEN.relu_.default,
    _ATEN.tanh.default: _ATEN.tanh_.default,
    _ATEN.sigmoid.default: _ATEN.sigmoid_.default,
}


class Once:
    """A function of tensors that is computed again only where one of them is another tensor, or has changed."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._inputs: tuple[Tensor, ...] | None = None
        self._versions: list[int] = []
        self._found: tuple[Tensor, ...] = ()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        versions = [tensor._version for tensor in inputs]
        if self._inputs is None or versions != self._versions or any(map(is_not, inputs, self._inputs)):
            self._found = self._function(*inputs)
            self._inputs, self._versions = inputs, versions
        return self._found


def traced(function: Callable[..., Tensor], varies: Tensor, *stays: Tensor) -> Callable[..., Tensor]:
    """The function for inputs of these shapes; the function itself where it cannot be traced.

    What depends on `stays` alone is computed once, as long as the same tensors come in. Activations work in place, and
    large results go to memory that is kept from call to call: fresh memory costs a page fault every four kilobytes. Not
    for two threads at once.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # 0.7 s to import

    try:
        whole = make_fx(lambda *inputs: function(*inputs))(varies, *stays)  # it miscounts a method's arguments
    except RuntimeError:  # the function looks at the values of its inputs
        return function
    before, after = _in_two(whole.graph)
    shared, module = Once(fx.GraphModule(whole, before).forward), fx.GraphModule(whole, after)
    for node in list(module.graph.nodes):
        if node.target in _IN_PLACE and _is_last_use(node.args[0]):
            node.target = _IN_PLACE[node.target]
        elif node.target in _FILLS:
            _keep_memory(module, node)
        elif node.target in _VIEWS and _layout(node) == _layout(node.args[0]):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module.recompile()
    run = module.forward
    # A copy, for the result may lie in memory that the next call fills.
    return lambda varies, *stays: run(varies, *shared(*stays)).clone()


def _in_two(whole: fx.Graph) -> tuple[fx.Graph, fx.Graph]:
    """What does not depend on the first input, as a function of the others; and the rest, as a function of the first
    input and of what that gives."""
    first, *_ = whole.find_nodes(op="placeholder")
    late = {first}
    for node in whole.nodes:
        if node.op == "output" or any(n in late for n in node.all_input_nodes):
            late.add(node)
    passed = [node for node in whole.nodes if node not in late and any(user in late for user in node.users)]
    before, after = fx.Graph(), fx.Graph()
    early: dict[fx.Node, fx.Node] = {}
    rest = {first: after.node_copy(first)}
    for node in passed:
        rest[node] = after.placeholder(node.name)
        rest[node].meta = dict(node.meta)
    for node in whole.nodes:
        if node not in late:
            early[node] = before.node_copy(node, early.__getitem__)
        elif node is not first:
            rest[node] = after.node_copy(node, rest.__getitem__)
    before.output(tuple(early[node] for node in passed))
    return before, after


def _is_last_use(node: Any) -> bool:
    """True where nothing else reads the memory of this node: products seen through views, one reader each."""
    while isinstance(node, fx.Node) and len(node.users) == 1:
        if node.target in _FILLS.values():
            return True
        if node.target not in _PASSES:
            return False
        node = node.args[0]
    return False


def _keep_memory(module: fx.GraphModule, node: fx.Node) -> None:
    """Let the node fill a tensor that the module holds."""
    made, name = node.meta["val"], f"{node.name}_memory"
    module.register_buffer(name, torch.empty_strided(made.shape, made.stride(), dtype=made.dtype, device=made.device))
    with node.graph.inserting_before(node):
        memory = node.graph.get_attr(name)
    target: Any = node.target
    node.target, node.kwargs = _FILLS[target], {**node.kwargs, "out": memory}


def _layout(node: Any) -> tuple[Any, ...]:
    """Shape and strides of what a node gives."""
    return node.meta["val"].shape, node.meta["val"].stride()
