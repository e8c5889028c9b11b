"""Splits of the data as a factor of the seed: the plan, the records, who trains on what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.plugins import quiet

from optbench.cli import main
from optbench.core.problem import fresh
from optbench.core.trial import RequestError, Trial
from optbench.execution import verification
from optbench.execution.grouping import lane_groups
from optbench.execution.lane_group import run_group
from optbench.execution.options import RunOptions
from optbench.execution.plan import plan
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite, read_suite
from optbench.execution.task import LaneGroup, resolve
from optbench.execution.verification import Answers, data_digest
from optbench.records.files import read_environment, read_records
from optbench.records.schema import read_line
from optbench.registry.catalog import Catalog

CATALOG = Catalog()


def suite(**changes: object) -> Suite:
    settings: dict[str, object] = {
        "name": "t",
        "problems": ("mlp_iris", "sphere"),
        "optimizers": ("adam",),
        "timing": 0,
    }
    return Suite(**{**settings, "seeds": 5, "splits": 3, "passes": 4.0, **changes})  # type: ignore[arg-type]


def test_seed_s_uses_split_s_mod_n_and_a_problem_without_a_split_uses_one() -> None:
    planned = plan(suite(), CATALOG)
    splits = {name: [t.split for t in planned.trials if t.problem == name] for name in ("mlp_iris", "sphere")}
    assert splits == {"mlp_iris": [0, 1, 2, 0, 1], "sphere": [0] * 5}
    assert planned.undivided == ("sphere",)
    for task in planned.tasks:
        assert task.problem == CATALOG.problem(task.trial.problem, task.trial.split)
    assert not plan(suite(splits=1), CATALOG).undivided


def test_what_has_the_stated_split_is_called_as_it_always_was() -> None:
    """Records of before are found again: the same key and the same line, without a split."""
    trial = Trial("mlp_iris", "adam", (("lr", 0.01),), 3, 20.0)
    assert trial.key == "d3413a15f82e2a27"  # as it was before there were splits
    other = Trial("mlp_iris", "adam", (("lr", 0.01),), 3, 20.0, split=2)
    assert other.key != trial.key and other.cell == trial.cell
    assert "split" not in trial.as_data() and other.as_data()["split"] == 2
    mine, theirs = (run_group([one], CATALOG)[0] for one in (trial, other))
    assert '"split"' not in mine.line() and read_line(theirs.line()).split == 2 and read_line(mine.line()).split == 0
    assert "splits" not in suite(splits=1).toml()


def test_lanes_share_a_split_and_score_on_its_data() -> None:
    groups = [*lane_groups(plan(suite(seeds=6, optimizers=("adam", "pso")), CATALOG).tasks, 8)]
    assert all(len({trial.split for trial in group.trials}) == 1 for group in groups)
    assert max(len(group.trials) for group in groups if group.trials[0].problem == "mlp_iris") == 2
    for group in groups:
        for trial, record in zip(group.trials, run_group(group.trials, CATALOG), strict=True):
            problem = CATALOG.problem(trial.problem, trial.split)
            net = fresh(problem, trial.seed)[0].eval()
            with torch.no_grad():
                assert record.curve[0]["loss"] == pytest.approx(
                    problem.loss(net, problem.data().train).item(), rel=1e-5
                )
            assert record.split == trial.split and record.status == "spent"


def test_trials_that_come_as_data_are_resolved_each_on_its_split() -> None:
    trials = [Trial("mlp_iris", "adam", (), seed, 4.0, split=seed) for seed in (2, 0)]
    assert [task.problem for task in resolve(trials, CATALOG)] == [CATALOG.problem("mlp_iris", k) for k in (2, 0)]


def test_a_pass_is_one_over_the_training_rows_of_the_split() -> None:
    """Mixes of concrete have rows of their own number, so a split has its own number of rows."""
    found = {}
    for split in (0, 1):
        trial = Trial("mlp_concrete", "pso", (), split, 20.0, split=split)
        (record,) = run_group([trial], CATALOG)
        rows = len(CATALOG.problem("mlp_concrete", split).data().train[0])
        found[split] = rows
        assert record.status == "spent" and record.passes == pytest.approx(record.forward / rows, rel=1e-6)
    assert found[0] != found[1]


def test_points_on_a_split_are_scored_again_on_it(tmp_path: Path) -> None:
    trial = Trial("mlp_iris", "pso", (), 1, 20.0, split=1)
    answers = Answers()
    (record,) = run_group([trial], CATALOG, on_end=answers.add)
    answers.write(tmp_path / "points")
    digests = [data_digest(CATALOG.problem("mlp_iris", split), "cpu") for split in (1, 0)]
    for digest, status in zip(digests, ("spent", "failed"), strict=True):
        check = verification.Check(LaneGroup((trial,)), (record.line(),), (digest,) * 2, str(tmp_path / "points"), 0.0)
        assert verification.verified(check, Catalog())[0].status == status
    assert "the data are not what they were" in str(verification.verified(check, Catalog())[0].error)


PLUGIN = """
from dataclasses import dataclass
import torch
from torch import nn
from optbench import Problem, Splits, split

@dataclass(frozen=True)
class Ramp(Problem):
    track = "supervised"
    dtype = torch.float32
    bound = 0.0
    def network(self): return nn.Linear(1, 1)
    def data(self):
        x = torch.arange(20.0)[:, None] / 20
        return Splits(*((x[part], x[part]) for part in split(20)))
    def loss(self, net, batch): return ((net(batch[0]) - batch[1]) ** 2).mean()

class Crawl(torch.optim.SGD):
    pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in worker processes: a plugin's problem and optimizer, which are scored again, and two built in."""
    base = tmp_path_factory.mktemp("splits")
    (base / "ramp.py").write_text(PLUGIN)
    wanted = suite(problems=("ramp", "mlp_concrete", "sphere"), optimizers=("adam", "crawl[lr=0.01]"), seeds=4)
    run_suite(wanted, base / "out", RunOptions(workers=2, plugins=(str(base / "ramp.py"),)), quiet)
    return base


def test_a_run_on_splits_leaves_records_facts_and_a_suite_that_say_so(folder: Path) -> None:
    records, wrong = read_records(folder / "out")
    assert not wrong and {record.status for record in records} == {"spent"}, {record.error for record in records}
    assert {(r.problem, r.seed, r.split) for r in records if r.problem == "ramp"} == {
        ("ramp", s, s % 3) for s in range(4)
    }
    starts = {r.split: r.curve[0]["loss"] for r in records if r.problem == "ramp" and r.seed in (0, 3)}
    assert set(starts) == {0}
    facts = read_environment(folder / "out")["problems"]
    assert set(facts["ramp"]["splits"]) == set(facts["mlp_concrete"]["splits"]) == {"1", "2"}
    assert "splits" not in facts["sphere"]
    one = facts["mlp_concrete"]["splits"]["1"]
    assert one["train"] == len(CATALOG.problem("mlp_concrete", 1).data().train[0]) != facts["mlp_concrete"]["train"]
    assert one["best"]["value"] is None and one["taus"] and not one["targets"]
    assert one["validation"]["best"]["value"] is None  # what was reached on the stated validation data says nothing
    assert read_suite(str(folder / "out" / "suite.toml")).splits == 3


def test_one_folder_has_one_way_of_dividing(folder: Path, tmp_path: Path) -> None:
    files = (str(folder / "ramp.py"),)
    other = suite(problems=("ramp",), optimizers=("adam",), seeds=4, splits=2)
    with pytest.raises(RequestError, match="seed 2 of ramp on split 2 of its data, not on split 0"):
        run_suite(other, folder / "out", RunOptions(workers=1, plugins=files, add=True), quiet)
    run_suite(other, tmp_path / "two", RunOptions(workers=1, plugins=files), quiet)
    from optbench.records.merge import merge

    with pytest.raises(RequestError, match="losses on other data are not joined"):
        merge([folder / "out", tmp_path / "two"], tmp_path / "both")
    with pytest.raises(RequestError, match="losses on other data are not compared"):
        main_report(folder / "out", tmp_path / "two")
    more = suite(problems=("ramp",), optimizers=("pso",), seeds=5)  # more seeds on the same splits are no other way
    run_suite(more, tmp_path / "three", RunOptions(workers=1, plugins=files), quiet)
    merge([folder / "out", tmp_path / "three"], tmp_path / "joined")
    facts = read_environment(tmp_path / "joined")["problems"]["ramp"]
    assert set(facts["splits"]) == {"1", "2"}


def main_report(*folders: Path) -> None:
    from optbench import report

    report.write([*folders])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--problem", "mlp_iris", "--splits", "0"], "splits = 0, it must be 1"),
        (["--problem", "mlp_iris", "--splits", "two"], "'two' is not a whole number"),
        (["--against", "standard", "--optimizer", "adam", "--splits", "3"], "standard was run on 1 split of the data"),
    ],
)
def test_bad_requests_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_plugin_that_keeps_its_data_out_of_reach_has_one_split_and_that_is_said(tmp_path: Path) -> None:
    kept = (
        "        global DATA\n        if DATA is None: DATA = self.made()\n        return DATA\n    def made(self):\n"
    )
    text = PLUGIN.replace("    def data(self):\n", "    def data(self):\n" + kept)
    (tmp_path / "keeps.py").write_text(text.replace("@dataclass", "DATA = None\n@dataclass"))
    options = RunOptions(workers=1, plugins=(str(tmp_path / "keeps.py"),))
    said: list[str] = []
    records = run_suite(suite(problems=("ramp",)), tmp_path / "out", options, said.append)
    assert "ramp: no other split of the data can be drawn, so all seeds have the stated one" in said
    assert {record.split for record in records} == {0} and len({record.curve[-1]["loss"] for record in records}) == 5


def test_a_toml_suite_names_its_splits(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('problems = ["mlp_iris"]\noptimizers = ["adam"]\nsplits = 4\n')
    assert read_suite(str(path)).splits == 4
    path.write_text('problems = ["mlp_iris"]\noptimizers = ["adam"]\nsplits = "4"\n')
    with pytest.raises(RequestError, match="line 3: splits is a str, it must be a int"):
        read_suite(str(path))
    assert json.dumps(Trial("p", "o", (), 0, 1.0).as_data())
