"""Other splits of a problem's data: what is drawn anew, what stays, and what is known of a split nobody stated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import nn

from optbench.core.divided import divided, divides, undivided
from optbench.core.losses import MSE
from optbench.core.problem import Best, Problem, Splits, fresh, measured_start, split
from optbench.core.trial import LOWEST_SEEN, RequestError
from optbench.problems import PROBLEMS
from optbench.problems.mlp_regression import concrete_table, mixes
from optbench.registry.catalog import Catalog

CATALOG = Catalog()
DIVIDED = {
    *("line_mse", "line_l1", "logistic_cancer", "mlp_digits", "cnn_digits", "mlp_diabetes", "mlp_concrete"),
    *("mlp_iris", "mlp_wine", "mlp_cancer", "mlp_alzheimer", "mlp_parkinson", "cnn_fashion", "mri_synthetic_class"),
    *("mri_synthetic_severity", "mri_synthetic_severity_mse"),
    *("autoencoder_fashion", "vae_fashion", "denoise_fashion", "mnist1d_mlp", "mnist1d_cnn"),
}
CARRIED = [name for name, entry in PROBLEMS.items() if not entry.needs]


def rows(splits: Splits, part: str) -> torch.Tensor:
    """(n, everything) one row a sample of a part, targets behind the inputs."""
    return torch.cat(
        [
            tensor.flatten(1).double() if tensor.ndim > 1 else tensor[:, None].double()
            for tensor in getattr(splits, part)
        ],
        1,
    )


def test_a_problem_divides_where_chance_divides_its_data() -> None:
    found = {name for name in CARRIED if CATALOG.divides(name)}
    assert found >= DIVIDED
    assert all(CATALOG.problem(name).data().valid for name in found)  # whoever divides holds something out
    assert not {"sphere", "cartpole", "step_1d", "teacher", "transformer_shakespeare"} & found


@pytest.mark.parametrize("name", sorted(DIVIDED))
def test_another_split_has_other_rows_and_the_stated_one_is_left_as_it_was(name: str) -> None:
    stated = CATALOG.problem(name)
    before = [rows(stated.data(), part).clone() for part in ("train", "valid", "test")]
    one, two = (divided(stated, k).data() for k in (1, 2))
    for part, was in zip(("train", "valid", "test"), before, strict=True):
        assert torch.equal(rows(stated.data(), part), was)
    sizes = [len(rows(one, part)) for part in ("train", "valid", "test")]
    assert sum(sizes) == sum(map(len, before))
    if name != "mlp_concrete":  # whole mixes, of which some were measured more often
        assert sizes == [*map(len, before)]
    assert rows(one, "train").shape != before[0].shape or not torch.equal(rows(one, "train"), before[0])
    assert rows(one, "train").shape != rows(two, "train").shape or not torch.equal(
        rows(one, "train"), rows(two, "train")
    )
    again = divided(CATALOG.problem(name), 1)
    assert (
        again == divided(stated, 1)
        and hash(again) == hash(divided(stated, 1))
        and again != divided(stated, 2) != stated
    )
    assert torch.equal(rows(again.data(), "valid"), rows(one, "valid"))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_mix_of_concrete_is_in_two_parts_of_any_split(number: int) -> None:
    """Rows are found again in the table by their age and strength as ranks within what standardising keeps."""
    table = concrete_table()
    mix = mixes(table)
    data = CATALOG.problem("mlp_concrete", number).data()
    found = torch.cat([torch.cat([*part], 1) for part in data if part]).double()
    whole = torch.from_numpy(table)
    of_row = ((found - found.mean(0)) / found.std(0, correction=0))[:, None]
    reference = ((whole - whole.mean(0)) / whole.std(0, correction=0))[None]
    place = (of_row - reference).abs().amax(-1).argmin(1)
    assert len(set(place.tolist())) == len(table)  # every row once
    ends = [len(part[0]) for part in data if part]
    parts = [set(mix[one].tolist()) for one in place.split(ends)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_inputs_are_standardised_on_the_training_rows_of_each_split() -> None:
    for number in (0, 1, 2):
        x, y = CATALOG.problem("mlp_concrete", number).data().train
        for values in (x, y):
            assert values.mean(0).abs().max() < 1e-5 and (values.std(0, correction=0) - 1).abs().max() < 1e-4


def test_what_was_stated_for_one_split_is_not_taken_for_another() -> None:
    concrete, iris, cancer = (CATALOG.problem(name, 1) for name in ("mlp_concrete", "mlp_iris", "logistic_cancer"))
    for problem in (concrete, cancer):  # a best known loss and an optimum, of the stated data
        assert math.isnan(problem.best.value) and problem.best.source == LOWEST_SEEN and not problem.targets
    assert iris.best == Best(0.0, "bound")  # no data go below it
    batch = iris.data().train
    losses = sorted(iris.loss(fresh(iris, seed)[0].eval(), batch).item() for seed in range(9))
    assert iris.start == pytest.approx(losses[4]) != CATALOG.problem("mlp_iris").start
    assert iris.targets[0.1] == pytest.approx(0.1 * iris.start)
    assert undivided(iris) == CATALOG.problem("mlp_iris") and divided(iris, 0) is iris
    assert measured_start(iris, "valid") != measured_start(CATALOG.problem("mlp_iris"), "valid")


@cache
def _kept_by_its_module(samples: int) -> Splits:
    x = torch.arange(samples).double()[:, None]
    return Splits(*((x[part], x[part]) for part in split(samples)))


@dataclass(frozen=True)
class Cached(Problem):
    """Its module keeps its data, as most do."""

    objective_loss = MSE

    def network(self) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self) -> Splits:
        return _kept_by_its_module(20)


_HIDDEN: dict[str, Splits] = {}


@dataclass(frozen=True)
class Hidden(Cached):
    """It keeps its data where nobody looks."""

    def data(self) -> Splits:
        if "data" not in _HIDDEN:
            x = torch.arange(20).double()[:, None]
            _HIDDEN["data"] = Splits(*((x[part], x[part]) for part in split(20)))
        return _HIDDEN["data"]


@dataclass(frozen=True)
class Given(Cached):
    """Nothing is left to chance."""

    def data(self) -> Splits:
        x = torch.arange(20).double()[:, None]
        return Splits((x[:14], x[:14]), (x[14:], x[14:]))


def test_data_that_a_module_keeps_are_those_of_the_split_that_is_asked_for() -> None:
    problem = Cached()
    first = problem.data().train[0].clone()
    assert divides(problem) and torch.equal(problem.data().train[0], first)
    other = divided(problem, 3).data().train[0]
    assert not torch.equal(other, first) and torch.equal(problem.data().train[0], first)
    assert len({*other.flatten().tolist(), *divided(problem, 3).data()[1][0].flatten().tolist()}) == 17  # type: ignore[index]


def test_data_that_are_kept_out_of_reach_are_refused_and_given_ones_have_one_split() -> None:
    _HIDDEN.clear()
    with pytest.raises(ValueError, match=r"Hidden.data\(\) divides its data once and keeps them"):
        divides(Hidden())
    assert not divides(Given())
    with pytest.raises(ValueError, match="not divided anew, so there is no split 2"):
        divided(Given(), 2).data()


def test_a_problem_that_cannot_be_divided_is_refused_in_one_line(tmp_path: object) -> None:
    with pytest.raises(RequestError, match="unknown problem 'mlp_iriss', did you mean 'mlp_iris'"):
        CATALOG.divides("mlp_iriss")
