"""Budgets in steps and seconds, and trials that end at a goal: what is granted, what is recorded, what is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.plugins import quiet

import optbench
from optbench.core.goal import Goal, read_goal
from optbench.core.trial import RequestError, Trial
from optbench.execution.lane_group import run_group
from optbench.execution.options import RunOptions
from optbench.execution.request import Request
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite
from optbench.records.files import read_environment
from optbench.registry.catalog import Catalog
from optbench.report.interactive import Comparison

CATALOG = Catalog()


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("0.05", Goal("loss", False, 0.05)),
        ("training loss 0.1", Goal("loss", False, 0.1)),
        ("valid_loss<=3e-1", Goal("valid_loss", False, 0.3)),
        ("validation accuracy 0.97", Goal("valid_accuracy", True, 0.97)),
        ("valid_accuracy >= 0.9", Goal("valid_accuracy", True, 0.9)),
    ],
)
def test_goals_as_people_write_them(text: str, goal: Goal) -> None:
    assert read_goal(text) == goal == read_goal(str(goal))


@pytest.mark.parametrize("text", ["soon", "loss<=", "test_accuracy>=0.9", "1.2.3"])
def test_what_is_no_goal_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        read_goal(text)


def test_keys_of_trials_in_passes_are_what_they_were() -> None:
    trial = Trial("sphere", "adam", (("lr", 0.1),), 3, 10.0)
    assert trial.key == "07553e214bf2b9b9" and set(trial.as_data()) == {
        "problem", "optimizer", "hyper", "seed", "passes", "device",
    }  # fmt: skip
    assert len({trial.key, Trial("sphere", "adam", (("lr", 0.1),), 3, 10.0, until="loss<=1").key}) == 2


def asked(folder: Path, **how: object) -> Comparison:
    request = Request(problems=["mlp_iris"], seeds=2, timing=False, named=True, out=folder, **how)
    suite = request.resolved_suite()
    run_suite(suite, folder, RunOptions(own_process=True), quiet)
    return Comparison(folder)


def test_steps_are_gradient_steps_on_the_problems_own_minibatch(tmp_path: Path) -> None:
    study = asked(tmp_path, optimizers=["adam", "random_search"], steps=60)
    trials = study.trials().set_index("optimizer")
    problem = CATALOG.problem("mlp_iris")
    samples = problem.batch or len(problem.data().train[0])
    assert set(trials.loc["adam", "backward"]) == {60 * samples}
    assert trials.loc["adam", "budget"].tolist() == pytest.approx([60, 60])  # the report is in steps
    # With what it draws itself, which is on the axis too.
    assert trials.loc["random_search", "passes"].between(59, 64).all() and study.study.unit == "steps"
    assert "steps" in study.verdict and "passes" not in study.verdict
    assert study.plot_curves().get_xlabel() == "steps"


def test_a_plugins_problem_has_steps_too(tmp_path: Path) -> None:
    """It is in a process of its own while a run is planned, with the data that tell what a step costs."""
    plugin = tmp_path / "wide.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom optbench.problems.line import Line\n\n"
        "@dataclass(frozen=True)\nclass Wide(Line):\n    size: int = 16\n\n"
        "    @property\n    def batch(self): return self.size\n"
    )
    suite = Suite("s", ("wide[size=8]",), ("adam",), seeds=2, steps=60, timing=0)
    options = RunOptions(plugins=(str(plugin),), workers=1)
    records = run_suite(suite, tmp_path / "out", options, quiet)
    assert [(one.status, one.error, one.backward) for one in records] == [("spent", None, 60 * 8)] * 2


def test_seconds_end_a_trial_that_has_the_machine_to_itself(tmp_path: Path) -> None:
    study = asked(tmp_path, optimizers=["adam"], seconds=0.4)
    trials = study.trials()
    assert set(trials["status"]) == {"spent"} and trials["alone"].all() and set(trials["lanes"]) == {1}
    assert trials["seconds"].between(0.4, 2.0).all() and study.study.unit == "seconds"
    points = study.curves()
    assert points.groupby("key").size().min() > 5 and points["passes"].max() <= 2.0  # seconds
    assert not any("shared" in note for note in study.study.notes)


@pytest.mark.parametrize("seeds", [(0, 1, 2), (1,)])
def test_a_lane_ends_at_its_goal_as_it_would_alone(seeds: tuple[int, ...]) -> None:
    goal = "loss<=0.5"
    trials = [Trial("mlp_iris", "adam", (("lr", 0.01),), seed, 400.0, until=goal) for seed in seeds]
    records = run_group(trials, CATALOG)
    for record, trial in zip(records, trials, strict=True):
        (alone,) = run_group([trial], CATALOG)
        assert record.status == alone.status == "finished" and record.note == "reached its goal"
        assert record.curve[-1]["loss"] <= 0.5 < record.curve[-2]["loss"]
        assert record.passes == record.curve[-1]["passes"] == alone.passes < 400
        assert record.forward == alone.forward


def test_a_goal_is_what_the_report_speaks_of_first(tmp_path: Path) -> None:
    study = asked(tmp_path, optimizers=["adam[lr=0.01]", "sgd[lr=0.001]"], passes=100.0, until="valid_accuracy>=0.8")
    text = study.answers[0]
    assert text.title == "Who reaches a valid accuracy of at least 0.8, at what cost?"
    assert "adam[lr=0.01] reaches the valid accuracy of at least 0.8 at" in text.sentences[0]
    assert read_environment(tmp_path)["budget"]["until"]["column"] == "valid_accuracy"
    assert study.to_html()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"steps": 10, "seconds": 1.0}, "give one of them"),
        ({"steps": 0}, "positive"),
        ({"seconds": -1.0}, "positive"),
        ({"seconds": 5.0, "timeout": 4.0}, "not below the timeout"),
        ({"until": "soon"}, "is no goal"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(how: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=told):
        optbench.run(problems=["sphere"], optimizers=["adam"], out=tmp_path, **how)  # type: ignore[arg-type]
