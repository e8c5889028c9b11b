"""What a report shows of a problem: layers with their shapes, and summaries of the data."""

from __future__ import annotations

import torch

from optbench.engine.data import splits
from optbench.execution import portrait
from optbench.execution.environment import problem_facts
from optbench.registry.catalog import Catalog


def test_layers_come_with_shapes_and_parameters_and_leave_the_random_numbers_alone() -> None:
    problem = Catalog().problem("mlp_digits")
    before = torch.random.get_rng_state()
    found = portrait.network(problem, splits(problem, "cpu").train)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [one["kind"] for one in found] == ["Linear", "ReLU", "Linear"]
    assert (found[0]["in"], found[0]["out"], found[0]["parameters"]) == ([64], [32], 64 * 32 + 32)
    assert sum(one["parameters"] for one in found) == sum(p.numel() for p in problem.network().parameters())


def test_data_are_summed_up_and_no_row_is_kept() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    images = torch.arange(16.0).reshape(4, 1, 2, 2)
    found = portrait.data((images, labels))
    assert found["shapes"] == [[1, 2, 2], []]
    assert found["targets"] == {"kind": "classes", "at": [0, 1, 2], "counts": [1, 2, 1]}
    assert found["mean_image"] == [[0.0, 0.33], [0.67, 1.0]]
    x = torch.linspace(-1, 1, 400)[:, None]
    line = portrait.data((x, 3 * x))
    assert sum(line["targets"]["counts"]) == 400 and len(line["targets"]["at"]) == portrait.BINS + 1
    assert all(abs(b - 3 * a) < 0.01 for a, b in zip(line["curve"]["x"], line["curve"]["y"], strict=True))
    assert len(line["curve"]["x"]) == portrait.BINS
    assert portrait.data(()) == {}


def test_facts_have_it_and_a_function_has_none() -> None:
    catalog = Catalog()
    facts = problem_facts("cnn_digits", catalog.problem("cnn_digits"), catalog, "cpu")
    assert [one["kind"] for one in facts["network"]].count("Conv2d") == 2
    assert facts["data"]["targets"]["kind"] == "classes" and len(facts["data"]["mean_image"]) == 8
    assert "network" not in problem_facts("sphere", catalog.problem("sphere"), catalog, "cpu")
