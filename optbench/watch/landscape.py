"""The plane that a picture shows, the loss over it, and what a network has learned at a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from optbench.core.problem import Problem, Splits
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel

Array = npt.NDArray[np.float64]
GRID, FINE_GRID = 61, 151  # points a side at which the loss is drawn: of a network, of a function
FINE = 48  # points a side of a decision boundary, points of a learned function
MARGIN = 0.12  # of the width that the paths take, on each side
MAX_CLASSES = 12  # of a confusion matrix that can be read


class Landscape:
    """Losses and outputs of a problem's network at any points, after the runs: nobody pays for a picture."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._model = BatchedModel(problem, (0,), "cpu", eager=True)
        self.data = splits(problem, "cpu")

    def losses(self, points: Tensor, split: str = "train") -> Array:
        """(N, D) -> (N,) on a whole split, as records have them."""
        return np.array([found["loss"] for found in self.scores(points, split)], dtype=float)

    def scores(self, points: Tensor, split: str = "train") -> list[dict[str, float]]:
        """(N, D) -> the loss and the metrics of each on a whole split: "train", "valid" or "test"."""
        with torch.random.fork_rng():
            return self._model.score(points, Splits(getattr(self.data, split)))

    def outputs(self, point: Tensor, inputs: Tensor) -> Tensor:
        """What the network with the parameters (D,) answers to inputs (N, ...), in eval mode."""
        module = self._model.module.eval()
        with torch.no_grad(), torch.random.fork_rng():
            return torch.as_tensor(torch.func.functional_call(module, self._model.unflatten(point), (inputs,)))

    def filter_norms(self, point: Tensor) -> Tensor:
        """(D,) the norm of the filter that each parameter belongs to: a row of a matrix, or a whole vector.

        The units of Li et al. 2018 (arXiv:1712.09913): layers of other scales then look alike.
        """
        norms = []
        for part in self._model.unflatten(point).values():
            rows = part.flatten(1).norm(dim=1) if part.ndim > 1 else part.norm().expand(len(part) if part.ndim else 1)
            floor = rows[rows > 0].mean() if bool((rows > 0).any()) else torch.ones((), dtype=part.dtype)
            rows = torch.where(rows > 0, rows, floor)
            norms.append((rows.repeat_interleave(part.numel() // len(rows)) if part.ndim > 1 else rows).flatten())
        return torch.cat(norms)


@dataclass(frozen=True)
class Plane:
    """Two directions through a point. A parameter vector x has the coordinates ((x - origin) / scale) @ directions."""

    origin: Tensor  # (D,)
    scale: Tensor  # (D,)
    directions: Tensor  # (D, 2), orthonormal
    share: float  # of the paths' variance that lies in the plane

    def coordinates(self, points: Tensor) -> Array:
        """(N, D) -> (N, 2)."""
        return np.asarray((((points - self.origin) / self.scale) @ self.directions).double())

    def points(self, coordinates: Array) -> Tensor:
        """(N, 2) -> (N, D), in the plane."""
        flat = torch.as_tensor(coordinates, dtype=self.origin.dtype)
        return self.origin + (flat @ self.directions.T) * self.scale


def own_plane(dim: int, dtype: torch.dtype) -> Plane:
    """The plane of a function of two numbers: itself."""
    return Plane(torch.zeros(dim, dtype=dtype), torch.ones(dim, dtype=dtype), torch.eye(dim, dtype=dtype), 1.0)


def path_plane(paths: Sequence[Tensor], best: Tensor, scale: Tensor) -> Plane:
    """The plane through the lowest end along the two directions in which the paths move most.

    paths: (F, D) each; every path counts alike. best: (D,), the lowest end. scale: (D,) units of the parameters.
    """
    moved = torch.cat([(path - best) / scale / max(1, len(path)) ** 0.5 for path in paths])
    _, sizes, directions = torch.linalg.svd(moved, full_matrices=False)
    if len(sizes) < 2:
        raise ValueError("two points at least make a plane")
    total = float((sizes**2).sum())
    share = float((sizes[:2] ** 2).sum()) / total if total > 0 else 1.0
    return Plane(best, scale, directions[:2].T.contiguous(), share)


def window(coordinates: Sequence[Array], box: tuple[float, float] | None = None) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of a square that holds the paths, or the box of a function where that is larger."""
    every = np.concatenate(coordinates)
    every = every[np.isfinite(every).all(axis=1)]
    low, high = np.percentile(every, 1, axis=0), np.percentile(every, 99, axis=0)
    if box is not None:  # paths that leave the box far behind are cut at twice its width
        low, high = np.maximum(np.minimum(low, box[0]), 2 * box[0]), np.minimum(np.maximum(high, box[1]), 2 * box[1])
    half = max(float((high - low).max()) / 2, 1e-9) * (1 + 2 * MARGIN if box is None else 1.0)
    middle = (low + high) / 2
    return middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half


def grid(landscape: Landscape, plane: Plane, edges: tuple[float, float, float, float], side: int) -> Array:
    """(side, side) losses over the window: rows from bottom to top."""
    xs, ys = np.linspace(*edges[:2], side), np.linspace(*edges[2:], side)
    flat = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    return landscape.losses(plane.points(flat)).reshape(side, side)
