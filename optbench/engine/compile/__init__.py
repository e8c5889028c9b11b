"""Faster forms of one repeated step: traced, with reused buffers, as a CUDA graph; `compile_step` chooses."""

from optbench.engine.compile.cuda_graph import Uncaptured
from optbench.engine.compile.kept import shared
from optbench.engine.compile.step import compile_step

__all__ = ["Uncaptured", "compile_step", "shared"]
