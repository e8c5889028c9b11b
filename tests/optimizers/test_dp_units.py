"""The recursion over units against trying every choice, and each of its mechanisms against being broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.optimizers.exact import dp_bounds, dp_merge, dp_sums, dp_units
from optbench.optimizers.exact.dp_bounds import box_bound
from optbench.optimizers.exact.dp_sums import Stage, Units
from optbench.optimizers.exact.dp_units import Found, make_loss, solve
from optbench.optimizers.exact.dp_weights import Responses

Array = np.ndarray
thorough = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def rows(values: Array, cost: Array) -> Responses:
    return Responses(values, np.arange(len(values))[:, None], cost)


@st.composite
def instances(draw: st.DrawFn, penalised: bool) -> tuple[Units, Array]:
    """A sum of up to 5 of a few small integer vectors, where sums collide often, and the targets."""
    n, count = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    name = draw(st.sampled_from(["mse", "bce"]))
    vectors = st.lists(st.integers(-3, 3), min_size=n, max_size=n)
    values = draw(st.lists(vectors, min_size=2, max_size=5))
    biases = draw(st.lists(vectors, min_size=1, max_size=2))
    costs = [draw(st.lists(st.integers(0, 3), min_size=len(v), max_size=len(v))) for v in (values, biases)]
    y = draw(st.lists(st.integers(0, 1) if name == "bce" else st.integers(-9, 9), min_size=n, max_size=n))
    scale = 0.1 if penalised else 0.0
    choices = rows(np.array(values, float), scale * np.array(costs[0]))
    offsets = rows(np.array(biases, float), scale * np.array(costs[1]))
    target = np.array(y, float)
    return Units(choices, offsets, count, make_loss(name, target, choices, offsets)), target


def every_choice(units: Units) -> float:
    """The least loss plus cost over all K choices and biases, by trying them."""
    index = np.array(list(product(range(len(units.choices.rows)), repeat=units.count)))  # (A^K, K)
    z = units.choices.rows[index].sum(1)[:, None] + units.biases.rows  # (A^K, C, n)
    cost = units.choices.cost[index].sum(1)[:, None] + units.biases.cost
    return float((units.loss.value(z) + cost).min())


def evaluated(units: Units, found: Found) -> float:
    """Loss plus cost of the choices that were returned; infinite where none were."""
    if len(found.choices) != units.count:
        return np.inf
    z = units.choices.rows[found.choices].sum(0) + units.biases.rows[found.bias]
    return float(units.loss.value(z) + units.choices.cost[found.choices].sum() + units.biases.cost[found.bias])


def solved_from(units: Units, limit: float, middle: bool) -> Found:
    """The recursion without its first guess: all it knows is that something at most `limit` is looked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_units, "beam", lambda units, width: Found(limit))
        return solve(units, middle=middle)


def agrees(units: Units) -> bool:
    """Right with its own guess, with nothing known, and with the optimum all but known (where the bounds bite)."""
    least = every_choice(units)
    limits = (np.inf, least + 1e-9)
    found = [solved_from(units, limit, middle) for limit in limits for middle in (True, False)]
    return all(abs(evaluated(units, each) - least) <= 1e-12 for each in [*found, solve(units)])


@thorough
@given(instances(penalised=False))
def test_units_equal_brute_force(case: tuple[Units, Array]) -> None:
    assert agrees(case[0])


@thorough
@given(instances(penalised=True))
def test_penalised_units_equal_brute_force(case: tuple[Units, Array]) -> None:
    assert agrees(case[0])


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(instances(penalised=False), st.data())
def test_bounds_hold_for_every_completion(case: tuple[Units, Array], data: st.DataObject) -> None:
    """Both squared-error bounds and the binary one: nothing that r more units and a bias reach is below."""
    units, y = case
    left = data.draw(st.integers(0, 3))
    s = np.array(data.draw(st.lists(st.integers(-4, 4), min_size=len(y), max_size=len(y))), float)
    index = np.array(list(product(range(len(units.choices.rows)), repeat=left)), int)  # (A^left, left)
    z = s + units.choices.rows[index].sum(1)[:, None] + units.biases.rows
    least = float(units.loss.value(z).min())
    assert units.loss.bound(s[None], left)[0] <= least + 1e-12
    if isinstance(units.loss, dp_bounds.Squared):
        missing, turned = y - s, (y - s) @ units.loss.axes
        assert box_bound(missing[None], units.loss.plain, left)[0] <= least + 1e-12
        assert box_bound(turned[None], units.loss.turned, left)[0] <= least + 1e-12
        assert np.allclose(units.loss.axes @ units.loss.axes.T, np.eye(len(y)), atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.booleans().flatmap(lambda penalised: instances(penalised)), st.sampled_from([1, 16, 100]))
def test_blocks_of_any_size_give_the_same(case: tuple[Units, Array], block: int) -> None:
    """Extending, streaming and matching a few states at a time, where what is best so far changes in between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_sums, "MAX_BLOCK", block)
        patch.setattr(dp_units, "MAX_BLOCK", block)
        assert agrees(case[0])


# Broken on purpose: each way, the recursion is wrong on some of these instances


def cases(count: int = 4, name: str = "mse", penalised: bool = False, seeds: int = 12) -> Iterator[Units]:
    for seed in range(seeds):
        stream = np.random.default_rng(seed)
        n, scale = 3, 0.1 if penalised else 0.0
        choices = rows(stream.integers(-3, 4, (6, n)).astype(float), scale * stream.integers(0, 4, 6))
        biases = rows(stream.integers(-1, 2, (2, n)).astype(float), scale * stream.integers(0, 4, 2))
        y = (stream.random(n) < 0.5) * 1.0 if name == "bce" else stream.integers(-9, 10, n).astype(float)
        yield Units(choices, biases, count, make_loss(name, y, choices, biases))


def dearest(keyed: Array, cost: Array) -> Array:
    return dp_merge.merge(keyed, -cost)


def without_cost(keyed: Array, cost: Array) -> Array:
    return dp_merge.merge(keyed, 0 * cost)


def coarse(values: Array, spacing: float) -> Array:
    return dp_merge.keys(values, 4.0)


sums = dp_sums._sums


def never_repeating(units: Units, stage: Stage, ordered: bool) -> Iterator[Stage]:
    for part in sums(units, stage, ordered):
        later = part.choice > stage.choice[part.parent]
        yield dp_sums.pick(part, np.flatnonzero(later | (len(stage.rows) == 1)))


def one_unit_short(self: dp_bounds.Reach, left: int) -> tuple[Array, Array]:
    low, high = (max(0, left - 1) * unit + bias for unit, bias in zip(self.unit, self.bias, strict=True))
    return low, high


def without_bias(self: dp_bounds.Reach, left: int) -> tuple[Array, Array]:
    low, high = (left * unit for unit in self.unit)
    return low, high


def only(axes: str) -> Callable[..., Array]:
    def bound(self: dp_bounds.Squared, s: Array, left: int) -> Array:
        if axes == "plain":
            return box_bound(self.y - s, self.plain, left)
        return box_bound((self.y - s) @ self.axes, self.turned, left)

    return bound


def every_axis(biases: Array) -> Array:
    return np.eye(biases.shape[1])


blocks = dp_units._blocks


def from_the_greatest(units: Units, stage: Stage, least: Array, ordered: bool) -> Iterator[tuple[int, Array]]:
    for begin, index in blocks(units, stage, least, ordered):
        yield (int(stage.choice[index].max()) if ordered else begin), index


def without_the_last_block(*args: Any) -> Iterator[tuple[int, Array]]:
    yield from list(blocks(*args))[:-1]


BREAKS: dict[str, tuple[Any, str, Any, dict[str, Any]]] = {
    "merging keeps the dearest": (dp_sums, "merge", dearest, {"penalised": True}),
    "merging forgets the penalty": (dp_sums, "merge", without_cost, {"penalised": True}),
    "merging takes near for equal": (dp_sums, "keys", coarse, {}),
    "symmetry breaking forbids repeats": (dp_sums, "_sums", never_repeating, {}),
    "bound a unit short": (dp_bounds.Reach, "box", one_unit_short, {}),
    "binary bound a unit short": (dp_bounds.Reach, "box", one_unit_short, {"name": "bce"}),
    "bound without the bias": (dp_bounds.Reach, "box", without_bias, {}),
    "last stage from the greatest last choice": (dp_units, "_blocks", from_the_greatest, {"name": "bce"}),
    "last stage without its last block": (dp_units, "_blocks", without_the_last_block, {"name": "bce"}),
    "middle: biases not projected out": (dp_units, "_complement", every_axis, {}),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_mechanism_is_noticed(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, replacement, settings = BREAKS[broken]
    assert all(agrees(units) for units in cases(**settings))
    monkeypatch.setattr(owner, attribute, replacement)
    assert not all(agrees(units) for units in cases(**settings))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.booleans().flatmap(lambda penalised: instances(penalised)), st.randoms(use_true_random=False))
def test_any_of_equally_cheap_ways_may_be_kept(case: tuple[Units, Array], random: Random) -> None:
    """What the proof in `dp_sums` says: symmetry breaking asks nothing of how merging breaks ties."""

    def shuffled(keyed: Array, cost: Array) -> Array:
        order = np.array(random.sample(range(len(keyed)), len(keyed)))
        return order[dp_merge.merge(keyed[order], cost[order])]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_sums, "merge", shuffled)
        assert agrees(case[0])


@pytest.mark.parametrize("axes", ["plain", "turned"])
def test_each_bound_alone_is_noticed_when_broken(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The larger of the two hides neither: each is exact on its own, and wrong when it forgets a unit."""
    monkeypatch.setattr(dp_bounds.Squared, "bound", only(axes))
    assert all(agrees(units) for units in cases())
    monkeypatch.setattr(dp_bounds.Reach, "box", one_unit_short)
    assert not all(agrees(units) for units in cases())


def test_mechanisms_save_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three numbers, four of which are chosen: 3^4 sequences are 15 multisets, which have 9 sums."""
    choices, biases = rows(np.array([[0.0], [1.0], [2.0]]), np.zeros(3)), rows(np.zeros((1, 1)), np.zeros(1))
    loss = make_loss("mse", np.array([0.3]), choices, biases)
    units = Units(choices, biases, 5, loss)
    states = solved_from(units, np.inf, middle=False).states
    assert states == [1, 3, 5, 7, 9]
    assert solved_from(units, np.inf, middle=True).states == [1, 3, 5, 7]
    made: list[int] = []

    def counted(*args: Any) -> Iterator[Stage]:
        for part in sums(*args):
            made.append(len(part.rows))
            yield part

    monkeypatch.setattr(dp_sums, "_sums", counted)
    solved_from(units, np.inf, middle=False)
    assert made[:2] == [3, 6]  # 0+0 0+1 0+2 1+1 1+2 2+2, where without symmetry breaking there are 9
    assert sum(solved_from(units, 0.09 + 1e-9, middle=False).states) < sum(states)  # 0.3 is met best by 0


def test_turned_axes_prune_where_the_plain_box_cannot() -> None:
    """Contributions along one line: off it nothing can be reached, which only the turned box sees."""
    line = np.outer(np.linspace(-2, 2, 9), [1.0, 1.0])
    choices, biases = rows(line, np.zeros(9)), rows(np.zeros((1, 2)), np.zeros(1))
    loss = make_loss("mse", np.array([1.0, -1.0]), choices, biases)
    assert isinstance(loss, dp_bounds.Squared)
    s = np.zeros((1, 2))
    assert box_bound(loss.y - s, loss.plain, 1)[0] == 0 and loss.bound(s, 1)[0] == pytest.approx(1.0)


def test_rows_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    keyed = np.array([[1, 2], [3, 4], [1, 2], [3, 5]])
    monkeypatch.setattr(dp_merge, "_hash", lambda rows: np.zeros(len(rows), np.int64))
    kept = dp_merge.merge(keyed, np.array([2.0, 0.0, 1.0, 0.0]))
    assert sorted(kept.tolist()) == [1, 2, 3]
