"""docs/problems.md and the scripts that write it: the page is the problems' own, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import make_problem_table
import make_universal
import pandas as pd
import pytest
import torch

from optbench.core.problem import fresh
from optbench.execution.suite import read_suite
from optbench.problems import PROBLEMS
from optbench.problems.universal import Universal
from optbench.registry.catalog import Catalog

DOCS = Path(__file__).parents[2] / "docs"

CARRIED = [name for name, entry in PROBLEMS.items() if not entry.needs]


def cells(heading: str) -> dict[str, list[str]]:
    """{problem: its cells} in the table of the page that comes after this heading."""
    after = (DOCS / "problems.md").read_text(encoding="utf-8").split(heading)[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in after.splitlines() if line.startswith("|")
    ]
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_page_has_every_problem_with_the_targets_it_states() -> None:
    catalog = Catalog()
    about, difficulty = cells("# The problems"), cells("## Difficulty")
    assert list(about) == list(difficulty) == CARRIED
    for name in CARRIED:
        problem = catalog.problem(name)
        assert about[name][0] == PROBLEMS[name].summary and about[name][1:3] == [problem.track, problem.loss_name]
        stated = {float(text.split(":")[0]): float(text.split(":")[1]) for text in difficulty[name][4].split(";")}
        assert stated == pytest.approx(problem.targets, rel=1e-3), name


GRADIENTS_ONLY = {"cnn_digits"}  # no population trains a convolution in 30 passes; it is there for the others


def test_the_budgets_of_standard_tell_optimizers_apart() -> None:
    """Most methods reach some target, and nobody reaches all of them at once."""
    rows = cells("## In the suite `standard`")
    assert tuple(rows) == read_suite("standard").problems
    for name, row in rows.items():
        counts = [tuple(map(int, text.split(":")[1].split("/"))) for text in row[3].split(";")]
        easiest, tried = counts[0]
        assert 2 * easiest >= tried or name in GRADIENTS_ONLY, f"{name}: {row[3]}"
        assert 2 * counts[-1][0] <= 1.2 * tried, f"{name}: {row[3]}"


@pytest.mark.parametrize("name", read_suite("standard").problems)
def test_no_fresh_network_meets_a_target_of_standard(name: str) -> None:
    problem = Catalog().problem(name)
    train = problem.data().train
    draws = 100 if len(train[0]) < 500 and problem.track != "reinforcement" else 6
    with torch.no_grad():
        lowest = min(problem.loss(fresh(problem, seed)[0].eval(), train).item() for seed in range(draws))
    assert lowest > max(problem.targets.values())


def test_difficulty_of_a_known_quadratic_and_of_a_step_network() -> None:
    """The ellipsoid's condition number is a million; where the backward is a stand-in there is no curvature."""
    catalog = Catalog()
    assert float(make_problem_table.difficulty(catalog.problem("ellipsoid")).curvature) == pytest.approx(1e6, rel=1e-3)
    assert make_problem_table.difficulty(catalog.problem("xor_sign")).curvature == ""


def test_noise_scale_by_hand() -> None:
    """Loss w x of samples x = 1, 2, 3, 6: gradients of mean 3, variance 14 / 3, so |g|^2 = 9 - 14 / 12."""
    x = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    found = make_problem_table._noise(lambda w, batch: (w * batch).mean(), torch.tensor([5.0]), (x,))
    assert float(found) == pytest.approx((14 / 3) / (9 - 14 / 12), rel=1e-3)


def test_the_family_is_measured_whole_and_larger_networks_come_closer() -> None:
    suite, catalog = read_suite("universal"), Catalog()
    family = [catalog.problem(name) for name in suite.problems]
    assert set(family) == {Universal(width, depth) for width in (4, 8, 16, 32) for depth in (1, 2, 3)}
    trials = pd.read_csv(make_universal.DATA)
    assert len(trials) == len(family) * len(suite.optimizers) * suite.seeds
    middle = trials[trials["optimizer"] == "scipy_lbfgsb"].groupby(["width", "depth"])["error"].median()
    for depth in (1, 2, 3):
        assert middle[32, depth] < 0.5 * middle[4, depth]
    assert (trials["largest"] >= trials["error"]).all()
    lines = make_universal.table(trials)
    assert all(line in (DOCS / "problems.md").read_text(encoding="utf-8") for line in lines)
