"""Hard activations: exact forward, a stand-in backward that is nowhere zero, the same under vmap."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from optbench.core.layers import SLOPE, Sign, Step

Z = torch.tensor([-1e30, -3.0, -1e-30, -0.0, 0.0, 1e-30, 0.7, 1e30], dtype=torch.float64)


@pytest.mark.parametrize(("layer", "low"), [(Step(), 0.0), (Sign(), -1.0)])
def test_forward_is_exact_and_one_at_zero(layer: torch.nn.Module, low: float) -> None:
    assert layer(Z).tolist() == [low, low, low, 1, 1, 1, 1, 1]
    assert layer(Z.float()).dtype == torch.float32
    assert layer(torch.tensor([math.nan])).isnan().all()


@pytest.mark.parametrize(("layer", "rise"), [(Step(), 1.0), (Sign(), 2.0)])
def test_backward_is_a_smooth_step_of_the_same_rise(layer: torch.nn.Module, rise: float) -> None:
    """The stand-in's derivative integrates to the rise, is largest at the threshold and positive everywhere."""
    z = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(z).sum(), z)
    assert float(torch.trapezoid(slope, z.detach())) == pytest.approx(rise, rel=1e-4)
    assert float(slope.max()) == pytest.approx(rise * SLOPE / 2) and float(slope.min()) > 0
    assert slope[2_000_000] == slope.max()


def test_vmap_of_the_gradient_equals_one_by_one() -> None:
    def loss(z: Tensor) -> Tensor:
        return (Step()(z) * Sign()(z - 0.1)).sum()

    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(vmap(grad(loss))(z), torch.stack([grad(loss)(row) for row in z]))
