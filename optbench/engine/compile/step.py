"""One repeated step in its fastest form: traced into bare operations on kept memory; on a GPU, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from optbench.engine.compile.cuda_graph import graphed
from optbench.engine.compile.trace import traced


def compile_step(
    step: Callable[..., Any], varying: Sequence[Tensor], steady: Sequence[Tensor], results: slice | None = None
) -> Callable[..., Any]:
    """The step for inputs of these shapes; the step itself where it cannot be compiled.

    It is called as step(*varying, *steady). varying: inputs that change from call to call. steady: inputs that are
    mostly the same tensors, so that what depends on them alone is computed once. results: which inputs are memory that
    the step fills, where it returns nothing; then it becomes a CUDA graph on a GPU. Not for two threads at once.
    """
    if results is not None and varying[0].is_cuda:
        return captured(step, varying, steady, results)
    return traced(step, *varying, *steady, varies=len(varying))


def captured(
    step: Callable[..., None], varying: Sequence[Tensor], steady: Sequence[Tensor], results: slice
) -> Callable[..., None]:
    """As a CUDA graph. What depends on the steady inputs is part of it: a graph cannot know that one is another."""
    operations = traced(step, *varying, *steady, varies=len(varying) + len(steady))
    return graphed(operations, *varying, *steady, results=results, steady=len(steady))
