"""ACO_R against its anchors, its invariances and a loop that follows the paper."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.recording import Formula, Recording, run, sphere
from torch import Tensor

from optbench.core.objective import Inapplicable
from optbench.engine.metered import metered_as
from optbench.optimizers.colony.aco_r import ACOR, basis

SEEDS = tuple(range(25))


def scaled(*weights: float) -> Callable[[Tensor], Tensor]:
    """The sum of w_i x_i^2."""
    w = torch.tensor(weights, dtype=torch.float64)
    return lambda x: (w * x.square()).sum()


# Median evaluations to 1e-10 from [-3, 7]^10, at q = 1e-4 and at q = 0.1.
ANCHORS = {
    "sphere": (sphere, 1946, 3518),
    "ellipsoid": (scaled(*(100 ** (2 * i / 9) for i in range(10))), 2236, 4074),
    "cigar": (scaled(1.0, *[1e4] * 9), 2486, 4556),
    "tablet": (scaled(1e4, *[1.0] * 9), 2104, 3738),
}


@pytest.mark.parametrize("name", ANCHORS)
@pytest.mark.parametrize("column, q", [(1, 1e-4), (2, 0.1)])
def test_evaluations_to_the_target_are_the_anchors(name: str, column: int, q: float) -> None:
    formula, anchor = ANCHORS[name][0], ANCHORS[name][column]
    f = run(ACOR(q=q), Formula(formula), 1.4 * anchor, SEEDS)
    reached = f.history < 1e-10  # (B, evaluations)
    first = torch.where(reached.any(1), reached.int().argmax(1) + 1, 10**9)
    assert abs(int(first.median()) / anchor - 1) <= 0.15


def test_ten_ants_equal_the_paper_written_with_loops() -> None:
    k, m, q, xi, dim = 6, 2, 0.3, 0.85, 3
    problem = Formula(sphere, dim=dim)
    f = run(ACOR(archive=k, ants=m, q=q, xi=xi), problem, k + 5 * m)
    replay = metered_as(Recording, problem, [0], 1)
    weights = [math.exp(-((rank - 1) ** 2) / (2 * q * q * k * k)) for rank in range(1, k + 1)]
    archive = sorted(((float(sphere(x)), x) for x in f.start(k)[0]), key=lambda pair: pair[0])
    for step in range(5):
        picks, ants = replay.rand(m)[0], []
        for a in range(m):
            total, chosen = 0.0, -1
            while total <= float(picks[a]) * sum(weights):
                chosen += 1
                total += weights[chosen]
            noise, centre, ant = replay.randn(dim)[0], archive[chosen][1], torch.zeros(dim).double()
            for d in range(dim):
                spread = sum(abs(float(x[d] - centre[d])) for _, x in archive) / (k - 1)
                ant[d] = centre[d] + xi * spread * noise[d]
            ants.append(ant)
        assert torch.allclose(f.points[1 + step][0], torch.stack(ants), atol=1e-12)
        archive = sorted([*archive, *((float(sphere(x)), x) for x in ants)], key=lambda pair: pair[0])[:k]


@pytest.mark.parametrize("rotate", [False, True])
def test_a_monotone_transform_of_the_loss_changes_no_bit(rotate: bool) -> None:
    optimizer = ACOR(archive=20, q=0.1, rotate=rotate)
    plain = run(optimizer, Formula(sphere, dim=4), 400, (0, 1))
    cubed = run(optimizer, Formula(lambda x: sphere(x) ** 3, dim=4), 400, (0, 1))
    assert torch.equal(torch.cat(plain.points, 1), torch.cat(cubed.points, 1))
    assert not torch.equal(plain.history, cubed.history)


def test_an_ant_samples_around_one_member_in_all_dimensions() -> None:
    # Members far apart, ants close to one of them each: a member redrawn a dimension would put an ant far from all.
    f = run(ACOR(archive=8, ants=8, q=10.0, xi=1e-6), Formula(sphere, dim=4), 16)
    members, ants = f.points[0][0], f.points[1][0]
    near = torch.cdist(ants, members).argmin(1)
    assert (ants - members[near]).norm(dim=1).max() < 1e-4
    assert len(near.unique()) > 2


def test_lanes_equal_serial() -> None:
    for optimizer in (ACOR(archive=10, q=0.1), ACOR(archive=10, rotate=True)):
        together = run(optimizer, Formula(sphere, dim=5), 200, (0, 1, 2)).history
        for lane in range(3):
            alone = run(optimizer, Formula(sphere, dim=5), 200, (lane,)).history[0]
            assert torch.allclose(together[lane], alone, rtol=1e-9)


def test_the_basis_is_orthonormal_also_where_the_archive_is_flat() -> None:
    stream = torch.Generator().manual_seed(0)
    apart = torch.randn(2, 8, 5, generator=stream, dtype=torch.float64)
    apart[1, :, 2:] = 0  # spans two dimensions of five
    axes = basis(apart, torch.rand(2, 5, generator=stream).double(), torch.randn(2, 5, 5, generator=stream).double())
    assert torch.allclose(axes.mT @ axes, torch.eye(5).double().expand(2, 5, 5), atol=1e-12)
    assert torch.allclose(axes[1, 2:, :2], torch.zeros(3, 2).double(), atol=1e-9)  # the archive's plane comes first


def test_rotation_makes_a_turned_valley_as_easy_as_a_straight_one() -> None:
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    valley = scaled(1.0, *[1e4] * 5)
    seeds = tuple(range(6))

    def median(optimizer: ACOR, formula: Callable[[Tensor], Tensor]) -> float:
        return float(run(optimizer, Formula(formula, dim=6), 1200, seeds).history.amin(1).median())

    straight = median(ACOR(rotate=True), valley)
    turned = median(ACOR(rotate=True), lambda x: valley(turn @ x))
    assert 1e-3 < turned / straight < 1e3
    assert median(ACOR(), lambda x: valley(turn @ x)) > 10 * turned


def test_candidates_that_are_not_finite_leave_the_archive_first() -> None:
    f = run(ACOR(archive=10), Formula(lambda x: torch.where(x[0] > 2, x.square().sum(), torch.nan), dim=3), 400)
    assert f.finish().nonfinite[0] > 0
    assert f.finish().curves[0][-1]["loss"] == float(f.history.min())


def test_rotation_is_refused_where_its_basis_would_not_fit() -> None:
    with pytest.raises(Inapplicable, match=r"1001 x 1001.*rotate=False"):
        run(ACOR(rotate=True), Formula(sphere, dim=1001), 10)


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"archive": 1}, "archive=1"),
        ({"ants": 0}, "ants=0"),
        ({"q": 0.0}, "q=0.0: a finite number above 0"),
        ({"xi": math.nan}, "xi=nan"),
        ({"rotate": 1}, "rotate=1: true or false"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ACOR(**settings)
