"""A function of tensors as its bare tensor operations, for what runs again and again in the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, fx

from optbench.engine.compile.buffers import buffered
from optbench.engine.compile.operations import draws, is_view, owners, works_in_place, written
from optbench.engine.once import Once


class Traced:
    """A function as a graph of tensor operations. is_closed: it refers to no tensors but its inputs."""

    def __init__(self, run: Callable[..., Any], is_closed: bool) -> None:
        self._run, self.is_closed = run, is_closed

    def __call__(self, *inputs: Tensor) -> Any:
        return self._run(*inputs)


def traced(function: Callable[..., Any], *inputs: Tensor, varies: int = 1) -> Callable[..., Any]:
    """The function for inputs of these shapes; the function itself where it cannot be traced.

    The first `varies` inputs change from call to call. What depends on the rest alone is computed once, as long as the
    same tensors come in, and so are views of the first one. Results in between go to memory that is kept. Not for two
    threads at once.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # 0.7 s to import

    try:
        with _one_fake_mode():
            whole = make_fx(lambda *inputs: function(*inputs))(*inputs)  # it miscounts a method's arguments
    except RuntimeError:  # the function depends on the values of its inputs
        return function
    if any(written(node) not in ((), (0,)) for node in whole.graph.nodes):
        return function  # what it changes is not plain to see
    is_closed = not whole.graph.find_nodes(op="get_attr")
    owner, stay = owners(whole.graph), set(list(whole.graph.find_nodes(op="placeholder"))[varies:])
    changed = {owner[node] for node in whole.graph.nodes if works_in_place(node)}
    once_only = _reached(whole.graph, stay, lambda node: owner[node] not in changed and not draws(node.target))
    early, rest = _cut(whole.graph, once_only)
    views, late = _cut(rest, _reached(rest, {next(iter(rest.nodes))}, is_view))
    once = Once(fx.GraphModule(whole, early).forward)
    viewed = Once(fx.GraphModule(whole, views).forward, views=True)
    run = buffered(whole, late).forward

    def step(point: Tensor, *others: Tensor) -> Any:
        return run(*others[: varies - 1], *once(*others[varies - 1 :]), *viewed(point))

    return Traced(step, is_closed)


@contextmanager
def _one_fake_mode() -> Iterator[None]:
    """Meanwhile make_fx notes the shapes of results in one mode: else it makes one a node, a third of its time."""
    from torch._guards import TracingContext, tracing
    from torch._subclasses.fake_tensor import FakeTensorMode

    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        yield


def _reached(graph: fx.Graph, inputs: set[fx.Node], through: Callable[[fx.Node], bool]) -> set[fx.Node]:
    """The inputs, and what follows from them alone by such operations."""
    found = set(inputs)
    for node in graph.nodes:
        reads = node.all_input_nodes
        if node.op == "call_function" and reads and found.issuperset(reads) and through(node):
            found.add(node)
    return found


def _cut(graph: fx.Graph, first: set[fx.Node]) -> tuple[fx.Graph, fx.Graph]:
    """The nodes of `first` as a graph of their own, and the rest: a function of the other inputs, then of what that
    gives."""
    before, after = fx.Graph(), fx.Graph()
    early: dict[fx.Node, fx.Node] = {}
    late: dict[fx.Node, fx.Node] = {}
    passed = [node for node in graph.nodes if node in first and any(user not in first for user in node.users)]
    for node in graph.find_nodes(op="placeholder"):
        if node not in first:
            late[node] = after.node_copy(node)
    for node in passed:
        late[node] = after.placeholder(node.name)
        late[node].meta = dict(node.meta)
    for node in graph.nodes:
        if node in first:
            early[node] = before.node_copy(node, early.__getitem__)
        elif node not in late:
            late[node] = after.node_copy(node, late.__getitem__)
    before.output(tuple(early[node] for node in passed))
    return before, after
