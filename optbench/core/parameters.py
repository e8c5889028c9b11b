"""The parameters that a torch optimizer trains, as views into the (B, D) matrix of the batched model.

One lane trains the network's own parameters through the plain module, bit-equal to a bare loop. More lanes train slices
of the matrix (`stacked`) or one list of parameters a lane (`of_lane`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from optbench.core.model import Model
from optbench.core.problem import Batch


class OneLane:
    """The plain module's own parameters."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.in_training = False  # an optimizer has asked for them

    def stacked(self, lanes: slice) -> list[nn.Parameter]:
        """The parameters in the network's own shapes."""
        self.in_training = True
        return list(self._model.leaves)

    def of_lane(self, lane: int) -> list[nn.Parameter]:
        """The same: there is one lane."""
        return self.stacked(slice(None))

    def losses(self, batch: Batch, index: Tensor | None, step: int) -> Tensor:
        """The scalar loss of the parameters in training, with their gradients left in `.grad`."""
        return self._model.backward(batch, step)

    def collect(self) -> None:
        """Bring the matrix up to date where an optimizer gave a parameter new memory (`p.data = ...`), as some do."""
        _rebind(self._model.leaves, self._model.unflatten(self._model.matrix[0]).values())

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Another point goes through the plain module inside; the parameters in training stay as they are."""
        if not self.in_training:
            yield
            return
        self.collect()
        kept = self._model.matrix.clone()
        try:
            yield
        finally:
            self._model.matrix.copy_(kept)


class ManyLanes:
    """Slices of the matrix, and lists of one lane's parameters."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._slices: list[tuple[slice, nn.Parameter]] = []
        self._lists: list[tuple[int, list[nn.Parameter]]] = []

    @property
    def in_training(self) -> bool:
        return bool(self._slices or self._lists)

    def stacked(self, lanes: slice) -> list[nn.Parameter]:
        """One (lanes, D) parameter: an optimizer that works element by element trains all of these lanes at once."""
        matrix = nn.Parameter(self._model.matrix[lanes])
        self._slices.append((lanes, matrix))
        return [matrix]

    def of_lane(self, lane: int) -> list[nn.Parameter]:
        """One lane's parameters in the network's own shapes."""
        parameters = [nn.Parameter(view) for view in self._model.unflatten(self._model.matrix[lane]).values()]
        self._lists.append((lane, parameters))
        return parameters

    def losses(self, batch: Batch, index: Tensor | None, step: int) -> Tensor:
        """The losses (B,) of the parameters in training, with their gradients left in `.grad`."""
        self.collect()
        for _, matrix in self._slices:
            matrix.grad = None  # its memory, still in the cache, is where the next one goes
        losses, gradients = self._model.value_and_grad(self._model.matrix, batch, index, step)
        for lanes, matrix in self._slices:
            matrix.grad = gradients[lanes]
        for lane, parameters in self._lists:
            for p, view in zip(parameters, self._model.unflatten(gradients[lane]).values(), strict=True):
                p.grad = view
        return losses

    def collect(self) -> None:
        """As for one lane."""
        for lanes, matrix in self._slices:
            _rebind([matrix], [self._model.matrix[lanes]])
        for lane, parameters in self._lists:
            _rebind(parameters, self._model.unflatten(self._model.matrix[lane]).values())

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Nothing to do: other points of several lanes do not go through the matrix."""
        yield


def _rebind(parameters: Iterable[nn.Parameter], views: Iterable[Tensor]) -> None:
    """Copy parameters that have left their views back into them, and let them be views again."""
    for p, view in zip(parameters, views, strict=True):
        if p.data_ptr() != view.data_ptr():
            view.copy_(p.detach().view(view.shape))
            p.data = view
