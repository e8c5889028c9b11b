"""Kernels of convolutions as matrices, (out, in * height * width), for a class that takes matrices alone.

Muon's authors flatten them so: https://kellerjordan.github.io/posts/muon/.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

KERNELS = ("tensors", "matrices")  # how a part gets parameters of more than two dimensions
_MATRIX = 2


class _Flat(nn.Parameter):
    """A parameter seen as a matrix: the same memory, and a gradient that is the parameter's own."""

    whole: Tensor

    def __new__(cls, whole: Tensor) -> _Flat:
        seen: _Flat = torch.Tensor._make_subclass(cls, whole.detach().flatten(1), True)
        assert seen.data_ptr() == whole.data_ptr(), "a parameter that is no contiguous memory"
        seen.whole = whole
        return seen

    @property
    def grad(self) -> Tensor | None:
        """A view, so that what changes it in place changes the gradient."""
        gradient = self.whole.grad
        if gradient is not None and not gradient.is_contiguous():
            gradient = self.whole.grad = gradient.contiguous()
        return None if gradient is None else gradient.flatten(1)

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        self.whole.grad = None if gradient is None else gradient.view_as(self.whole)


def as_matrix(parameter: Any) -> Any:
    """The parameter (out, ...) as a matrix (out, rest); one of two dimensions or fewer as it is."""
    return parameter if parameter.ndim <= _MATRIX else _Flat(parameter)
