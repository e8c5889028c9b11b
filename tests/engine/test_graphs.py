"""A captured step gives what the plain one gives, on a recorder that replays operations on the same memory.

There is no GPU where the tests run. The recorder keeps to what a CUDA graph does: Python runs once, at capture, and a
replay repeats the operations on the very tensors of the capture, whatever Python would do now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from optbench.engine.compile.cuda_graph import Uncaptured, graphed
from optbench.engine.compile.step import captured
from optbench.engine.model import BatchedModel
from optbench.engine.randomness import for_lanes
from optbench.registry.catalog import Catalog


class Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def replay(self) -> None:
        for func, args, kwargs, made in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def capture(graph: Recorder) -> Iterator[None]:
        with graph:
            yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorder)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda side: nullcontext())


def step_of(name: str, indexed: bool) -> tuple[Callable[..., None], list[tuple[Tensor, ...]], list[tuple[Tensor, ...]]]:
    """A step of three lanes, and for three calls what changes and the batch."""
    problem = Catalog().problem(name)
    model, data = BatchedModel(problem, (0, 1, 2), "cpu"), problem.data().train
    draw = torch.Generator().manual_seed(0)
    mine, batches = [], []
    for number in range(3):
        points = model.matrix + 0.01 * number
        index = torch.randint(0, len(data[0]), (3, 8), generator=draw)
        batch = data if indexed else tuple(tensor[8 * number : 8 * number + 8] for tensor in data)
        own = [index] if indexed else []
        if problem.stochastic:
            listed = model.drawn(batch, index if indexed else None)
            own += for_lanes(listed, (0, 1, 2), number, points.dtype, "cpu")
        mine.append((points, torch.empty_like(points), torch.empty(3, dtype=points.dtype), *own))
        batches.append(batch)
    return model._gradients.step(indexed, len(data)), mine, batches


@pytest.mark.parametrize("indexed", [True, False], ids=["own batches", "one batch"])
@pytest.mark.parametrize("name", ["mlp_digits", "mlp_diabetes", "cnn_digits"])
def test_a_captured_step_follows_its_points_and_its_batch(name: str, indexed: bool, recorded: None) -> None:
    step, mine, batches = step_of(name, indexed)
    run = captured(step, mine[0], batches[0], slice(1, 3))
    assert run.__name__ == "replay"
    for number in (0, 1, 2, 1):
        run(*mine[number], *batches[number])
        _, gradients, losses = [tensor.clone() for tensor in mine[number][:3]]
        step(*mine[number], *batches[number])
        torch.testing.assert_close(gradients, mine[number][1], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(losses, mine[number][2], rtol=1e-4, atol=1e-6)


def test_points_that_were_changed_behind_the_version_counter_are_seen(recorded: None) -> None:
    def double(x: Tensor, result: Tensor, table: Tensor) -> None:
        result.copy_(2 * x + table)

    x, result, table = torch.ones(3), torch.empty(3), torch.zeros(3)
    run = graphed(double, x, result, table, results=slice(1, 2), steady=1)
    x.data.add_(1)  # as many optimizers do it
    run(x, result, table)
    assert result.tolist() == [4, 4, 4]
    table.add_(1)
    run(x, result, table)
    assert result.tolist() == [5, 5, 5]
    run(x, result, torch.ones(3) * 7)
    assert result.tolist() == [11, 11, 11]


def test_a_step_that_cannot_be_captured_runs_without_a_graph_and_says_why(recorded: None, monkeypatch) -> None:
    """A GPU may run out of memory while it captures: slower, never wrong."""

    def full(graph: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(torch.cuda, "graph", full)

    def step(x: Tensor, out: Tensor) -> None:
        out.copy_(2 * x)

    call = graphed(step, torch.ones(3), torch.empty(3), results=slice(1, 2), steady=0)
    assert isinstance(call, Uncaptured) and call.reason == "CUDA out of memory. Tried to allocate 2 GiB"
    out = torch.empty(3)
    call(torch.full((3,), 5.0), out)
    assert out.tolist() == [10.0] * 3
