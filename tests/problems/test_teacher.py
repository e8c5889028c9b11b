"""The imitation task behind the crossover study: its optimum of 0 is reached, and its sizes are the ones it claims."""

from __future__ import annotations

import tomllib

import pytest
import torch

from optbench.core.problem import fresh
from optbench.engine.metered import metered
from optbench.execution import suite as suites
from optbench.optimizers.quasi_newton.scipy_lbfgsb import LBFGSB
from optbench.problems.teacher import SAMPLES, Teacher
from optbench.registry.catalog import Catalog


def test_a_student_reaches_the_optimum() -> None:
    f = metered(Teacher(features=16, hidden=40), [0], 3000)
    LBFGSB().minimise(f)
    f.finish()
    assert f.finish().curves[0][-1]["loss"] < 1e-9


def test_targets_are_standardised_and_splits_apart() -> None:
    data = Teacher().data()
    assert [len(part[0]) for part in data if part] == [SAMPLES] * 3
    x, y = data.train
    assert x.mean(0).abs().max() < 1e-5 and float(y.std()) == pytest.approx(1, abs=1e-5)
    assert data.valid is not None and not torch.isin(data.valid[0][:, 0], x[:, 0]).all()


def test_the_suite_spans_four_decades_of_parameters() -> None:
    suite = tomllib.loads((suites.SUITES / "crossover.toml").read_text())
    problems = [Catalog().problem(text) for text in suite["problems"]]
    sizes = [sum(p.numel() for p in fresh(problem, 0)[0].parameters()) for problem in problems]
    assert sizes == [9, 31, 101, 325, 1025, 3101, 10_351, 31_951, 96_041]


@pytest.mark.parametrize("settings", [{"features": 0}, {"features": 61}, {"hidden": 0}, {"depth": 0}])
def test_a_shape_that_does_not_exist_is_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))}={next(iter(settings.values()))}"):
        Teacher(**settings)
