"""What the objective needs of the networks that it trains; `engine.model.BatchedModel` is one."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from optbench.core.problem import Batch, Splits


class Model(Protocol):
    """B networks of one problem, whose parameters are the rows of a matrix. Letters: B lanes, P candidates, D
    parameters, N samples of a batch, n of them that one lane sees.

    It has more than ten public methods, for one network answers values, gradients, their graphs and scores.
    """

    dim: int  # D
    matrix: Tensor  # (B, D)
    module: nn.Module  # the plain network, its parameters views into row 0
    leaves: list[nn.Parameter]  # the module's parameters

    @property
    def buffered(self) -> bool:
        """Whether the network has a state beside its parameters, as batch normalisation has."""

    @property
    def state(self) -> dict[str, Tensor]:
        """{buffer: (B, ...)} of that state."""

    @property
    def overhead(self) -> float:
        """Seconds that compiling took so far."""

    @property
    def uncaptured(self) -> str:
        """Why a step could not become a CUDA graph; empty where it did, or was not to."""

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """(D,) -> {parameter name: view in the network's shape}."""

    def values(self, points: Tensor, batch: Batch, index: Tensor | None, step: int) -> Tensor:
        """(B, P, D) -> losses (B, P). index: (B, n) samples of the batch that each lane sees; None: all of them.

        step: with the lane's seed, it keys what a stochastic network draws.
        """

    def value_and_grad(self, points: Tensor, batch: Batch, index: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """(B, D) -> losses (B,) and gradients (B, D)."""

    def backward(self, batch: Batch, step: int) -> Tensor:
        """The scalar loss of the plain network, with its gradients left in `.grad`."""

    def graph(self, batch: Batch, step: int) -> tuple[Tensor, list[Tensor | None]]:
        """The loss of the plain network and its gradients, both with their graphs."""

    def loss(self, batch: Batch, step: int) -> Tensor:
        """The scalar loss of the plain network with its graph."""

    def product_flops(self, samples: int) -> int:
        """FLOPs of a Hessian-vector product on so many samples, beyond the gradient's."""

    def backward_seen(self, samples: int) -> float:
        """What a backward pass on so many samples counts as where all operations of torch are watched."""

    def score(self, points: Tensor, data: Splits) -> list[dict[str, float]]:
        """(B, D) -> for each point its loss and metrics on every split, in eval mode."""
