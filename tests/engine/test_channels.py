"""Convolutions and pooling of many lanes as channels: the numbers of each lane alone, and every call served."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F

from optbench.engine.channel_layout import ChannelLayout

LANES, SAMPLES = 3, 4
NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "as cnn_digits": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()
    ),
    "pooling first": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 2)),
    "stride and padding of two kinds": lambda: nn.Sequential(nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(0, 1))),
    "dilation": lambda: nn.Sequential(nn.Conv2d(2, 3, 2, dilation=2)),
    "groups": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.Tanh(), nn.Conv2d(4, 4, 2, groups=4)),
    "no bias": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.MaxPool2d(2)),
    "padding by name": lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding="same")),
    "padding with what is at the other side": lambda: nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    ),
    "windows that overlap": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, stride=2, padding=1)),
    "windows with gaps": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(2, dilation=2)),
    "windows cut off at the border": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d(3, ceil_mode=True)),
    "rows that no window covers": lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.MaxPool2d((3, 2))),
    "upsampling between": lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3)),
}


def lanes(net: nn.Module) -> dict[str, Tensor]:
    """Random parameters of every lane."""
    return {name: torch.randn(LANES, *p.shape, dtype=torch.float64) for name, p in net.named_parameters()}


def losses(net: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Every output with a weight of its own, so that a number in the wrong place is another loss."""
    found = functional_call(net, parameters, (x,))
    return (found * y[: found.numel()].view(found.shape)).sum()


@pytest.mark.parametrize("shared", [False, True], ids=["own batches", "one batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_and_gradients_are_those_of_each_lane_alone(name: str, shared: bool) -> None:
    torch.manual_seed(0)
    net = NETWORKS[name]().double()
    parameters, weights = lanes(net), torch.randn(5000, dtype=torch.float64)
    x = torch.randn(*(() if shared else (LANES,)), SAMPLES, 2, 8, 8, dtype=torch.float64)
    step = grad_and_value(lambda row, batch: losses(net, row, batch, weights))
    with ChannelLayout():
        gradients, values = vmap(step, in_dims=(0, None if shared else 0))(parameters, x)
    for lane in range(LANES):
        alone = {key: value[lane] for key, value in parameters.items()}
        gradient, value = step(alone, x if shared else x[lane])
        torch.testing.assert_close(values[lane], value, rtol=1e-12, atol=1e-12)
        for key in alone:
            torch.testing.assert_close(gradients[key][lane], gradient[key], rtol=1e-12, atol=1e-12)


def test_gradients_of_the_pictures_too() -> None:
    torch.manual_seed(0)
    net = NETWORKS["as cnn_digits"]().double()
    parameters, weights = lanes(net), torch.randn(5000, dtype=torch.float64)
    x = torch.randn(LANES, SAMPLES, 2, 8, 8, dtype=torch.float64)
    slope = torch.func.grad(lambda picture, row: losses(net, row, picture, weights))
    expected = vmap(slope)(x, parameters)
    with ChannelLayout():
        torch.testing.assert_close(vmap(slope)(x, parameters), expected, rtol=1e-12, atol=1e-12)


def test_among_equals_the_first_takes_the_gradient() -> None:
    x = torch.ones(LANES, 1, 2, 4, 4)
    x[1, ..., 3, 3] = 2.0
    slope = torch.func.grad(lambda picture: F.max_pool2d(picture, 2).sum())
    with ChannelLayout():
        found = vmap(slope)(x)
    expected = torch.zeros(4, 4)
    expected[::2, ::2] = 1.0
    assert torch.equal(found[0, 0, 0], expected)
    expected[2, 2], expected[3, 3] = 0.0, 1.0
    assert torch.equal(found[1, 0, 1], expected)


def test_without_vmap_and_on_one_picture_the_calls_are_torchs_own() -> None:
    torch.manual_seed(0)
    net = NETWORKS["as cnn_digits"]()
    many, one = torch.randn(SAMPLES, 2, 8, 8), torch.randn(2, 8, 8)
    expected = net(many), net(one)
    with ChannelLayout():
        torch.testing.assert_close(net(many), expected[0])
        assert torch.equal(net(one), expected[1])
        values, places = F.max_pool2d(many, 2, return_indices=True)
    assert values.shape == places.shape == (SAMPLES, 2, 4, 4)


def test_activations_keep_the_lanes_side_by_side() -> None:
    """What makes it fast: between convolution, activation and pooling nothing is copied."""
    strides = []

    def watch(x: Tensor) -> Tensor:
        strides.append(torch._C._functorch.get_unwrapped(x).stride())
        return x

    def forward(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return watch(F.max_pool2d(watch(F.conv2d(x, weight, bias, padding=1).relu()), 2))

    with ChannelLayout():
        vmap(forward)(torch.randn(LANES, 5, 2, 3, 3), torch.randn(LANES, 5), torch.randn(LANES, SAMPLES, 2, 8, 8))
    for (sample, lane, channel, row, column), side in zip(strides, (8, 4), strict=True):
        assert (channel, lane, column) == (1, 5, LANES * 5)
        assert (row, sample) == (side * column, side * side * column)


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_a_lane_that_diverges_leaves_its_neighbours_alone(channels: int) -> None:
    """Bit for bit: the lanes' channels share vectors and products in memory, but no number."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
    )
    parameters = {name: torch.randn(LANES, *p.shape) for name, p in net.named_parameters()}
    x, weights = torch.randn(LANES, 16, 1, 8, 8), torch.randn(16 * 2 * channels * 16)
    step = vmap(grad_and_value(lambda row, batch: losses(net, row, batch, weights)))
    with ChannelLayout():
        before, _ = step(parameters, x)
        for value in parameters.values():
            value[1] = float("inf")
        after, values = step(parameters, x)
    assert not values[1].isfinite()
    for name in before:
        assert torch.equal(after[name][0], before[name][0]) and torch.equal(after[name][2], before[name][2])
