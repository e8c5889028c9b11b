"""docs/problems.md and the scripts that write it: the page is the problems' own, and counts what it says it counts."""

from __future__ import annotations

from pathlib import Path

import make_problem_table
import make_universal
import pandas as pd
import pytest
import torch
from helpers.synthetic import Runner, make, problem_facts

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


def test_no_target_on_the_page_is_reached_by_all_or_none() -> None:
    """Of the problems that a run has had: a new one needs none, and says so."""
    for name, row in cells("## Difficulty").items():
        assert row[5], f"{name}: write the page anew, `python scripts/make_problem_table.py results/reference`"
        if row[5] == make_problem_table.NOT_COUNTED:
            continue
        for text in row[5].split(";"):
            there, tried = map(int, text.split(":")[1].split("/"))
            assert 0 < there < tried, f"{name} {text}"


def test_only_default_settings_at_the_default_budget_are_counted(tmp_path: Path) -> None:
    problem = Catalog().problem("line_mse")  # its targets are 1 % and 0.1 % of the way
    facts = {"line_mse": problem_facts(problem.best.value, problem.start)}
    runners = {
        "adam": Runner(rate=2.5, noise=0.01),  # 0.3 % of the way is left
        "adam[lr=0.1]": Runner(rate=6.0, name="adam", hyper={"lr": 0.1}),
        "pso": Runner(rate=4.0, noise=0.01),
        "sgd": Runner(rate=6.0, fails=(0, 1, 2)),  # three of five diverge
        "random_search": Runner(rate=0.5, noise=0.01),
        "dp_step": Runner(refuses=("line_mse",)),
    }
    make(tmp_path / "a", runners, facts)
    make(tmp_path / "b", {"lbfgs": Runner(rate=9.0)}, facts, budget=1000.0)
    make(tmp_path / "c", {"lbfgs": Runner(rate=9.0)}, ["somebody_elses"])
    found = make_problem_table.reached([str(tmp_path / name) for name in "abc"])
    assert found.counts == {"line_mse": {0.01: (2, 4), 0.001: (1, 4)}}
    assert found.origin == "From 20 trials of 4 optimizers, up to 5 seeds."
    assert sorted(found.left_out.values()) == [5] * 4
    again = make_problem_table.reached([str(tmp_path / "a")] * 2)
    assert again.counts == found.counts and again.origin == found.origin


def test_a_problem_that_no_run_has_had_is_not_counted_yet() -> None:
    row = make_problem_table.hard("line_mse", Catalog().problem("line_mse"), {})
    assert row.split(" | ")[-1] == f"{make_problem_table.NOT_COUNTED} |"


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
