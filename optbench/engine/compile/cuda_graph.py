"""A function of tensors as one CUDA graph: its kernels are launched together, not one by one from Python."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Uncaptured:
    """A function that no CUDA graph could be made of, and why: it runs operation by operation."""

    def __init__(self, function: Callable[..., None], error: RuntimeError) -> None:
        self._function = function
        self.reason = " ".join(str(error).split())[:200] or type(error).__name__

    def __call__(self, *inputs: Tensor) -> None:
        self._function(*inputs)


def graphed(function: Callable[..., None], *inputs: Tensor, results: slice, steady: int) -> Callable[..., None]:
    """The function for inputs of these shapes on a GPU; an `Uncaptured` where it cannot be captured.

    That may be for want of memory: a graph keeps what its operations take, beside what the process has.

    results: which inputs are memory that it fills. steady: how many of the last inputs are mostly what they were.
    """
    latest = [(tensor, tensor._version) for tensor in inputs]
    graph = torch.cuda.CUDAGraph()
    try:
        own = [tensor.clone() for tensor in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries allocate their workspaces before anything is captured
            for _ in range(3):
                function(*own)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            function(*own)
    except RuntimeError as error:  # of memory too
        return Uncaptured(function, error)
    filled = range(len(inputs))[results]
    moving = [place for place in range(len(inputs) - steady) if place not in filled]

    def replay(*given: Tensor) -> None:
        for place in moving:
            own[place].copy_(given[place])
        for place in range(len(inputs) - steady, len(inputs)):
            new = given[place], given[place]._version
            if new[0] is not latest[place][0] or new[1] != latest[place][1]:
                own[place].copy_(new[0])
                latest[place] = new
        graph.replay()
        for place in filled:
            given[place].copy_(own[place])

    return replay
