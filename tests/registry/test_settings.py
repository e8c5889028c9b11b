"""Names, settings and classes: what is taken, and what a refusal suggests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optbench.core.trial import RequestError
from optbench.optimizers.swarm.particle_swarm import ParticleSwarm
from optbench.problems.line import Line
from optbench.registry.catalog import STANDARD_SPACE, Catalog
from optbench.registry.classes import Names
from optbench.registry.specs import parse

CATALOG = Catalog()


def test_truth_values_are_read_however_they_are_written() -> None:
    assert parse("adam[amsgrad=true,false]") == parse("adam[amsgrad=True,False]")


@pytest.mark.parametrize(
    ("name", "setting", "meant"), [("adam", "learning_rate", "lr"), ("pso", "population_size", "swarm")]
)
def test_a_setting_by_its_name_elsewhere_suggests_its_name_here(name: str, setting: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"did you mean '{meant}'"):
        CATALOG.optimizer(name, {setting: 0.1})


def test_a_torch_class_with_a_learning_rate_has_the_standard_space() -> None:
    assert CATALOG.space("torch.optim:NAdam") == STANDARD_SPACE == CATALOG.space("sgd")
    assert not CATALOG.space("nelder_mead")  # in the table, and declared without one


def test_classes_are_asked_for_by_the_shortest_path_that_finds_them() -> None:
    with Names() as names:
        found = names.of([torch.optim.NAdam, ParticleSwarm, Line, "adam"])
    assert found.files == () and found.specs[0] == "torch.optim:NAdam" and found.specs[3] == "adam"
    assert CATALOG.optimizer(found.specs[1], {}).needs == "value" and CATALOG.problem(found.specs[2])


def test_what_is_neither_an_optimizer_nor_a_problem_is_refused_in_one_line() -> None:
    for wrong in (int, 3, nn.Linear(2, 2)):
        with pytest.raises(RequestError, match=r"neither an optimizer|no optimizer") as refused, Names() as names:
            names.of([wrong])
        assert "\n" not in str(refused.value)


def test_a_range_of_whole_numbers_is_each_of_them() -> None:
    assert parse("bbob[f=1..3,d=2]") == parse("bbob[f=1,2,3,d=2]")
    with pytest.raises(RequestError, match=r"write 1\.\.3"):
        parse("bbob[f=3..1]")
    with pytest.raises(RequestError, match="at most"):
        parse("bbob[f=1..99999999]")
