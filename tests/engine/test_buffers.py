"""Results in kept memory: random programs give what they gave, and buffers, views and constants are made once."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from optbench.engine.compile.buffers import buffered
from optbench.engine.compile.trace import traced

N = 6  # every matrix is N x N, so that any result may take any other's memory


def against_its_transpose(y: Tensor) -> Tensor:
    return y * y.mT


STEPS: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda a, b: a @ b,
    lambda a, b: a + b,
    lambda a, b: a * b,
    lambda a, b: a.relu(),
    lambda a, b: a.tanh(),
    lambda a, b: a.mT,
    lambda a, b: a.sigmoid() - b,
    lambda a, b: a.clone().add_(b),
    lambda a, b: a.sum(0, keepdim=True).expand(N, N),
    lambda a, b: a.softmax(1),
    lambda a, b: torch.where(a > b, a, b),
    lambda a, b: torch.cat([a[:2], b[2:]]),
    lambda a, b: a.reshape(N * N).flip(0).view(N, N),
    lambda a, b: torch.stack([a, b]).unbind()[1],
    lambda a, b: a.split(3)[0].repeat(2, 1),
    lambda a, b: torch.ones_like(a).mul_(2) * b,
    lambda a, b: a.max(1, keepdim=True).values * b,
    lambda a, b: torch.nn.functional.gelu(a),
    lambda a, b: torch.nn.functional.layer_norm(a, (N,)),
    lambda a, b: against_its_transpose(a @ b),
    lambda a, b: a.gather(1, b.argsort(1)),
]


def program(seed: int) -> Callable[..., None]:
    """A random program of twelve steps on two matrices that change and one that stays; it fills two results."""

    def run(x: Tensor, first: Tensor, second: Tensor, y: Tensor, table: Tensor) -> None:
        draw = random.Random(seed)
        values = [x, y, table]
        for _ in range(12):
            values.append(draw.choice(STEPS)(draw.choice(values), draw.choice(values[-4:])))
        first.copy_(values[-1])
        second.copy_(sum(values[3:]))

    return run


@pytest.mark.parametrize("seed", range(80))
def test_random_programs_give_what_they_gave(seed: int) -> None:
    def inputs(number: int) -> list[Tensor]:
        draw = torch.Generator().manual_seed(number)
        return [torch.randn(N, N, generator=draw, dtype=torch.float64) for _ in range(5)]

    plain, table = program(seed), inputs(0)[4]
    fast = traced(plain, *inputs(0)[:4], table, varies=4)
    assert fast is not plain
    for number in (1, 2, 1):
        given, wanted = inputs(number), inputs(number)
        given[4] = wanted[4] = table
        plain(*wanted)
        fast(*given)
        for name, mine, theirs in zip(("x", "first", "second", "y", "table"), given, wanted, strict=True):
            assert torch.allclose(mine, theirs, rtol=1e-12, atol=1e-12, equal_nan=True), (name, number)


def kept(module: fx.GraphModule) -> set[int]:
    """Addresses of the memory that a module holds on to."""
    kept = (value for name, value in vars(module).items() if name.startswith("kept_"))
    return {tensor.data_ptr() for value in kept for tensor in (value if isinstance(value, list) else [value])}


def operations(module: fx.GraphModule) -> list[str]:
    return [node.name for node in module.graph.nodes if node.op == "call_function"]


def in_buffers(function: Callable[..., object], *inputs: Tensor) -> fx.GraphModule:
    module = make_fx(function)(*inputs)
    return buffered(module, module.graph)


def test_a_chain_of_products_goes_to_and_fro_between_two_buffers() -> None:
    def chain(x: Tensor, result: Tensor) -> None:
        y = x
        for _ in range(7):
            y = y @ x
        result.copy_(y)

    module = in_buffers(chain, torch.randn(N, N), torch.empty(N, N))
    assert len(kept(module)) == 2
    assert len(operations(module)) == 7  # the last one writes where the copy would have gone


def test_views_and_what_shapes_decide_cost_nothing_at_a_call() -> None:
    def step(x: Tensor, result: Tensor) -> None:
        y = (x @ x).mT.reshape(N, N, 1).transpose(0, 1)[..., 0]
        result.copy_(y * (torch.ones_like(y) / N).neg())

    module = in_buffers(step, torch.randn(N, N), torch.empty(N, N))
    assert len(operations(module)) == 2, operations(module)


@pytest.mark.parametrize("chances", ["decided by shapes", "of the batch"])
def test_numbers_drawn_inside_are_drawn_at_every_call(chances: str) -> None:
    def noisy(x: Tensor, result: Tensor, table: Tensor) -> None:
        result.copy_(x + torch.bernoulli(table if chances == "of the batch" else torch.full_like(x, 0.5)))

    table = torch.full((40,), 0.5)
    run = traced(noisy, torch.zeros(40), torch.empty(40), table, varies=2)
    first, second = torch.empty(2, 40)
    run(torch.zeros(40), first, table)
    run(torch.zeros(40), second, table)
    assert not torch.equal(first, second)


def test_what_is_added_to_in_place_begins_anew_at_every_call() -> None:
    def tally(x: Tensor, result: Tensor, index: Tensor) -> None:
        result.copy_(torch.zeros(N).index_put_((index,), x, accumulate=True))

    x, index = torch.arange(4.0), torch.tensor([0, 0, 1, 5])
    run = traced(tally, x, torch.empty(N), index, varies=2)
    for _ in range(3):
        found = torch.empty(N)
        run(x, found, index)
        assert found.tolist() == [1, 2, 0, 0, 0, 3]


def test_tensors_that_a_function_brings_along_are_read_anew() -> None:
    own = torch.ones(3)
    run = traced(lambda x, result: result.copy_(x * own.view(1, 3)), torch.ones(2, 3), torch.empty(2, 3), varies=2)
    own.mul_(5)
    found = torch.empty(2, 3)
    run(torch.ones(2, 3), found)
    assert torch.equal(found, torch.full((2, 3), 5.0))


def test_a_function_that_changes_another_operand_is_left_alone() -> None:
    running = [torch.zeros(3), torch.ones(3)]

    def normalised(x: Tensor, result: Tensor) -> None:
        result.copy_(torch.ops.aten._native_batch_norm_legit(x, None, None, *running, True, 0.1, 1e-5)[0])

    assert traced(normalised, torch.randn(5, 3), torch.empty(5, 3), varies=2) is normalised
