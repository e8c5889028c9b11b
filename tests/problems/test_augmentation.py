"""Pictures as a minibatch sees them: each step against its definition, and other ones each time."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cifar import write_cifar
from torch import Tensor

from optbench.core.minibatches import VariedBatches, batches, take, uniform
from optbench.core.problem import fresh, generator
from optbench.core.trial import Trial
from optbench.execution.lane_group import run_group
from optbench.problems import data_files
from optbench.problems.augmentation import BRIGHTER, DRAWS, standardised, varied
from optbench.registry.catalog import Catalog

MIDDLE = torch.tensor([0.5, 0.5, 0.9, 0.5, 0.5, 0.5])  # the picture as it is: no move, no mirror, every factor 1


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(7, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_a_window_of_the_padded_picture_is_taken_and_mirrored(pictures: Tensor) -> None:
    draws = MIDDLE.repeat(7, 1)
    draws[:, 0] = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 0.99, 0.5])
    draws[:, 1] = draws[:, 0].flip(0)
    draws[:, 2] = torch.tensor([0.1, 0.9, 0.4, 0.6, 0.49, 0.5, 0.0])
    seen = varied(pictures, draws, mirrors=True)
    for x, y, (down, right, mirror, *_) in zip(pictures.numpy(), seen.numpy(), draws.tolist(), strict=True):
        a, b = int(5 * down), int(5 * right)
        wanted = np.pad(x, ((0, 0), (2, 2), (2, 2)))[:, a : a + 6, b : b + 6]
        assert y == pytest.approx(wanted[:, :, ::-1] if mirror < 0.5 else wanted, abs=1e-6)
    plain = varied(pictures, draws, mirrors=False)
    assert plain[1] == pytest.approx(seen[1]) and not torch.allclose(plain[0], seen[0])


def test_light_is_tensorflows(pictures: Tensor) -> None:
    draws = MIDDLE.repeat(3, 1)
    draws[0, 3], draws[1, 4], draws[2, 5] = 0.75, 0.9, 0.1
    brighter, coloured, flatter = varied(pictures[:3], draws, mirrors=True)
    assert brighter == pytest.approx(pictures[0] + BRIGHTER / 2, abs=1e-6)
    for old, new in zip(pictures[1].flatten(1).T.tolist(), coloured.flatten(1).T.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*old)
        assert new == pytest.approx(colorsys.hsv_to_rgb(hue, min(1.0, 1.4 * saturation), value), abs=1e-5)
    mean = pictures[2].mean((1, 2), keepdim=True)
    assert flatter == pytest.approx(0.36 * (pictures[2] - mean) + mean, abs=1e-6)


def test_a_standardised_picture_has_mean_0_and_deviation_1_and_an_even_one_is_0(pictures: Tensor) -> None:
    pictures[0] = 0.3
    found = standardised(pictures)
    assert found[0].abs().max() < 1e-3
    assert found[1:].mean((1, 2, 3)) == pytest.approx(torch.zeros(6), abs=1e-5)
    assert found[1:].var((1, 2, 3), correction=0) == pytest.approx(torch.ones(6), rel=1e-4)


def test_the_numbers_are_uniform_and_no_two_columns_alike() -> None:
    keys = torch.randint(2**31, (20_000,), generator=torch.Generator().manual_seed(1))
    found = uniform(keys, DRAWS)
    assert found.min() >= 0 and found.max() < 1
    for column in found.T:
        assert torch.histc(column, 10, 0, 1) == pytest.approx(torch.full((10,), 2000.0), abs=200)  # 4.7 deviations
    assert (torch.corrcoef(found.T) - torch.eye(DRAWS)).abs().max() < 0.035


def _numbered(x: Tensor, numbers: Tensor) -> Tensor:
    return x[:, None] + numbers[:, :1]


def _varied(seeds: list[int]) -> VariedBatches:
    x = torch.arange(10.0)
    return VariedBatches((x, x), seeds, 4, "cpu", lambda batch, numbers: (_numbered(batch[0], numbers), batch[1]), 2)


def test_every_epoch_sees_other_variations_of_the_same_samples_and_a_seed_sees_the_same_ones() -> None:
    first, again, stream = _varied([3]), _varied([3]), batches(10, 4, 3)
    seen: dict[float, list[float]] = {}
    for _ in range(50):  # twenty epochs
        (x, y), index = first.current()
        assert index is None and torch.equal(x, again.current()[0][0])
        assert y.tolist() == next(stream).tolist()  # in the order in which they come unvaried
        for value, name in zip(x[:, 0].tolist(), y.tolist(), strict=True):
            assert name <= value < name + 1
            seen.setdefault(name, []).append(value)
    assert len(seen) == 10 and all(len(set(values)) == len(values) for values in seen.values())


@pytest.mark.parametrize("on_its_own", [False, True])
def test_lanes_see_what_each_sees_alone(on_its_own: bool) -> None:
    together, alone = _varied([3, 4]), [_varied([3]), _varied([4])]
    for _ in range(40):
        if on_its_own:
            for one in alone:
                one.next_step()
            names = [together.next_step(lane) for lane in (1, 0)]
        batch, index = together.current()
        assert index is not None
        for lane, one in enumerate(alone):
            assert torch.equal(take(batch, index[lane])[0], one.current()[0][0])
        if on_its_own:  # back to a step's minibatch
            together.next_step(1, names[0])
            again, index = together.current()
            assert torch.equal(again[0], batch[0]) and index is not None


def test_a_trial_trains_on_varied_pictures_as_a_bare_loop_and_is_scored_on_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    write_cifar(tmp_path, hundred=False, binary=True)
    catalog = Catalog()
    problem = catalog.problem("cifar10_3c3d")
    trial = Trial("cifar10_3c3d", "sgd", (("batch", 8), ("lr", 0.01)), 3, 3.0)
    (record,) = run_group([trial], catalog)
    assert record.status == "spent", record.error
    net, data = fresh(problem, 3)[0], problem.data()
    samples = len(data.train[0])
    keys, order = generator(3, "variation"), batches(samples, 8, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(samples // 8):
        index = next(order)
        numbers = uniform(torch.randint(2**31, (8,), generator=keys), DRAWS)
        x, y = take(data.train, index)
        optimizer.zero_grad()
        problem.loss(net, (varied(x, numbers, mirrors=True), y)).backward()
        optimizer.step()
    with torch.no_grad():
        assert record.curve[-1]["loss"] == pytest.approx(problem.loss(net.eval(), data.train).item(), rel=1e-5)
