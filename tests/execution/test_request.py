"""What a request becomes: a suite with parts replaced, or one of its own with its own name, budgets and folder."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.plugins import quiet

from optbench.core.trial import RequestError, Trial
from optbench.execution.executor import execute
from optbench.execution.in_process import InProcessExecutor
from optbench.execution.options import RunOptions
from optbench.execution.plan import plan
from optbench.execution.request import DEFAULT_OPTIMIZERS, DEFAULT_PROBLEMS, Request, is_small
from optbench.execution.runner import run_suite
from optbench.execution.suite import Suite, read_suite
from optbench.execution.task import LaneGroup
from optbench.records.files import read_environment, read_records
from optbench.registry.catalog import Catalog

HERE = RunOptions(own_process=True)  # small runs stay in this process
SUITE = Suite("s", ("sphere",), ("random_search",), seeds=1, passes=10, timing=False)


def test_a_request_of_its_own_takes_nothing_from_quick() -> None:
    request = Request(problems=["mlp_iris"], optimizers=["adam[lr=0.1]", "torch.optim:NAdam"])
    suite = request.resolved_suite()
    assert suite.name == "adam_NAdam_on_mlp_iris" and suite.timeout == 120 and not suite.budgets
    assert request.folder(suite) == Path("results/adam_NAdam_on_mlp_iris")
    trials = plan(suite, Catalog()).trials
    assert {trial.passes for trial in trials} == {Catalog().problem("mlp_iris").passes}


def test_the_side_that_is_not_named_has_a_default_set_that_exists() -> None:
    assert Request(problems=["mlp_iris"]).resolved_suite().optimizers == DEFAULT_OPTIMIZERS
    suite = Request(optimizers=["adam"], timeout=5.0, memory=1.0).resolved_suite()
    assert suite.problems == DEFAULT_PROBLEMS and (suite.timeout, suite.memory) == (5.0, 1.0)
    plan(replace(suite, optimizers=DEFAULT_OPTIMIZERS), Catalog())


def test_a_named_suite_keeps_what_is_not_replaced() -> None:
    quick = read_suite("quick")
    suite = Request(suite="quick", problems=["mlp_digits"], memory=2.0).resolved_suite()
    assert suite.name == "quick" and suite.optimizers == quick.optimizers and suite.timeout == quick.timeout
    assert suite.budgets == {"mlp_digits": quick.budgets["mlp_digits"]} and suite.memory == 2.0
    assert Request().resolved_suite() == quick


def test_many_names_make_a_short_folder() -> None:
    suite = Request(problems=list(DEFAULT_PROBLEMS), optimizers=list(DEFAULT_OPTIMIZERS)).resolved_suite()
    assert suite.name == "sgd_and_7_more_on_line_mse_and_7_more"
    assert is_small(SUITE, 1) and not is_small(suite, 4)


def test_a_suite_file_that_is_not_there_is_no_wrong_name(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"mine\.toml: no such file"):
        read_suite(str(tmp_path / "mine.toml"))


def test_a_folder_of_another_plan_is_refused_or_joined(tmp_path: Path) -> None:
    run_suite(SUITE, tmp_path, HERE, quiet)
    more = run_suite(replace(SUITE, seeds=2), tmp_path, HERE, quiet)  # contains the first: no other plan
    assert len(more) == 2
    other = replace(SUITE, problems=("rosenbrock",))
    with pytest.raises(RequestError, match=r"holds another plan: 2 of its 2 trials .* --add"):
        run_suite(other, tmp_path, HERE, quiet)
    assert len(read_records(tmp_path)[0]) == 2
    assert len(run_suite(other, tmp_path, replace(HERE, add=True), quiet)) == 1
    assert len(read_records(tmp_path)[0]) == 3
    joined = read_environment(tmp_path)
    assert len(joined["plan"]) == 3 and set(joined["problems"]) == {"sphere", "rosenbrock"}


def test_failed_trials_run_again_when_asked(tmp_path: Path) -> None:
    plugin = tmp_path / "moody.py"
    plugin.write_text(
        "from dataclasses import dataclass\nimport os\n@dataclass(frozen=True)\nclass Moody:\n    needs = 'value'\n"
        "    def minimise(self, f):\n        f.value(f.start(2))\n"
        f"        if not os.path.exists({str(tmp_path / 'mended')!r}): raise ValueError('a bad day')\n"
    )
    suite = replace(SUITE, optimizers=("moody",))
    options = RunOptions(plugins=(str(plugin),), workers=1)
    assert run_suite(suite, tmp_path / "out", options, quiet)[0].status == "failed"
    (tmp_path / "mended").touch()
    assert run_suite(suite, tmp_path / "out", options, quiet)[0].status == "failed"  # it has its record
    assert run_suite(suite, tmp_path / "out", replace(options, retry_failed=True), quiet)[0].status == "finished"
    assert len(read_records(tmp_path / "out")[0]) == 1


def test_a_problem_of_values_alone_is_inapplicable_to_gradients_at_any_number_of_seeds(tmp_path: Path) -> None:
    plugin = tmp_path / "black_box.py"
    plugin.write_text(
        "from dataclasses import dataclass\nfrom optbench.problems.line import Line\n@dataclass(frozen=True)\n"
        "class BlackBox(Line):\n    name = 'black_box'\n    gives = frozenset({'value'})\n"
        "    def loss(self, net, batch):\n        return super().loss(net, batch).detach()\n"
    )
    suite = Suite("s", ("black_box",), ("adam", "lbfgs", "random_search"), seeds=4, passes=5, timing=False)
    records = run_suite(suite, tmp_path / "out", RunOptions(plugins=(str(plugin),), workers=1), quiet)
    found = {(record.optimizer, record.status) for record in records}
    assert found == {("adam", "inapplicable"), ("lbfgs", "inapplicable"), ("random_search", "spent")}
    assert all("needs 'grad'" in str(record.error) for record in records if record.optimizer == "adam")


def test_a_small_run_in_this_process_gives_the_records_of_a_worker(tmp_path: Path) -> None:
    here = run_suite(SUITE, tmp_path / "here", HERE, quiet)
    there = run_suite(SUITE, tmp_path / "there", RunOptions(workers=1), quiet)
    for one, two in zip(here, there, strict=True):
        assert [point["loss"] for point in one.curve] == [point["loss"] for point in two.curve]


def test_a_trial_in_this_process_is_stopped_in_time_and_keeps_what_it_measured() -> None:
    trial = Trial("sphere", "random_search", (), 0, 1e7)
    began = time.monotonic()
    (outcome,) = execute(InProcessExecutor(Catalog(), RunOptions(timeout=0.5)), [LaneGroup((trial,))])
    record = outcome.records[0]
    assert record.status == "timeout" and "within 0.5 s" in str(record.error) and record.curve
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("changes", [{"workers": 0}, {"workers": -1}, {"lanes": 0}])
def test_numbers_of_nothing_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(RequestError, match="must be at least 1"):
        RunOptions(**changes)
