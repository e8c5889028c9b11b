"""Max pooling without gradients against torch's own kernel, and that the network uses it where nothing asks for one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F

from optbench.core.problem import Splits
from optbench.engine.data import splits
from optbench.engine.model import BatchedModel
from optbench.engine.pooling import WithoutPlaces, pooling
from optbench.registry.catalog import Catalog

WINDOWS: list[tuple[Any, Any]] = [(2, None), (3, 2), (2, 1), (3, None), ((2, 3), (1, 2)), (4, None), (2, 3)]


def pictures(*shape: int) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    x[0, 0, 0, 0], x[-1, -1, 1, 1], x[0, 0, 2, 2] = float("nan"), -float("inf"), float("inf")
    return x


def the_same(a: Tensor, b: Tensor) -> bool:
    return (
        a.shape == b.shape and torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(9.0), b.nan_to_num(9.0))
    )


@pytest.mark.parametrize(("size", "stride"), WINDOWS)
@pytest.mark.parametrize("shape", [(5, 3, 9, 7), (2, 1, 4, 4)])
def test_values_are_torchs_to_the_bit(size: Any, stride: Any, shape: tuple[int, ...]) -> None:
    x = pictures(*shape)
    wanted = F.max_pool2d(x, size, stride)
    with torch.no_grad(), WithoutPlaces():
        assert the_same(F.max_pool2d(x, size, stride), wanted) and the_same(nn.MaxPool2d(size, stride)(x), wanted)
        assert the_same(torch.max_pool2d(x, size, stride or size), wanted)
        assert the_same(vmap(lambda one: F.max_pool2d(one, size, stride))(torch.stack([x, x]))[1], wanted)


@pytest.mark.parametrize(
    "more", [{"padding": 1}, {"dilation": 2}, {"ceil_mode": True}, {"return_indices": True}, {"padding": (0, 1)}]
)
def test_what_is_not_plain_is_left_to_torch(more: dict[str, Any]) -> None:
    x = pictures(3, 2, 9, 9)
    wanted, found = F.max_pool2d(x, 3, 2, **more), None
    with torch.no_grad(), WithoutPlaces():
        found = F.max_pool2d(x, 3, 2, **more)
    pairs = zip(found, wanted, strict=True) if more.get("return_indices") else [(found, wanted)]
    assert all(the_same(a, b) for a, b in pairs)
    with WithoutPlaces(), pytest.raises(RuntimeError):
        F.max_pool2d(x, 12)  # larger than the picture


def test_a_network_pools_so_in_scores_and_losses_and_not_in_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Catalog().problem("cnn_digits")
    data = splits(problem, "cpu")
    kernels: list[str] = []
    kernel = torch.ops.aten.max_pool2d_with_indices.default

    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kernels.extend(["pool"] if func is kernel else [])
            return func(*args, **(kwargs or {}))

    model = BatchedModel(problem, (0,), "cpu")
    points = model.matrix.repeat(2, 1)[None]
    model.values(points, data.train, None, 0)  # finds out once what the network needs
    with Seen():
        scores = model.score(model.matrix, data)
        losses = [model.values(points[:, :1], data.train, None, 0), model.values(points, data.train, None, 0)]
        assert not kernels
        model.backward(data.train)
        assert len(kernels) == 2
    monkeypatch.setattr("optbench.engine.model.pooling", lambda module: nullcontext)
    monkeypatch.setattr("optbench.engine.scorer.pooling", lambda module: nullcontext)
    other = BatchedModel(problem, (0,), "cpu")
    assert other.score(other.matrix, Splits(*data)) == scores
    assert torch.equal(other.values(points[:, :1], data.train, None, 0), losses[0])
    assert torch.equal(other.values(points, data.train, None, 0), losses[1])
    assert pooling(Catalog().problem("mlp_digits").network()) is nullcontext
