"""benchopt: the folder that we write runs as it stands, its results are our trials, and the report reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optbench import report
from optbench.bridges import benchopt
from optbench.bridges.benchopt_run import Training
from optbench.cli import main
from optbench.core.trial import RequestError, Trial
from optbench.execution.lane_group import run_group
from optbench.execution.suite import Suite
from optbench.records.files import read_environment, read_records
from optbench.registry.catalog import Catalog
from optbench.registry.specs import parse

SUITE = Suite("tiny", ("sphere_2d", "mlp_iris"), ("pso[swarm=10,20]", "adam"), seeds=2, passes=30.0)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parquet file of `benchopt run` on the folder, as a user would run it."""
    pytest.importorskip("benchopt", reason="needs benchopt: pip install 'optbench[benchopt]'")
    folder = tmp_path_factory.mktemp("benchopt") / "benchmark"
    assert benchopt.write(SUITE, folder) == 2
    command = [sys.executable, "-m", "benchopt", "run", str(folder), "--config", str(folder / "suite.yml")]
    done = subprocess.run([*command, "--no-plot", "--no-display", "--output", "done"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "outputs" / "done.parquet"


def test_what_benchopt_ran_are_our_trials_to_the_last_bit(ran: Path, tmp_path: Path) -> None:
    """Each run's points against the same trial, with benchopt's seed, run by our own runner."""
    assert benchopt.read(ran, tmp_path / "out") == 2 * 3 * 2
    records, rejected = read_records(tmp_path / "out")
    assert not rejected and {record.label for record in records} == {"pso[swarm=10]", "pso[swarm=20]", "adam"}
    cells = {(record.problem, record.label) for record in records}
    assert all(len({r.seed for r in records if (r.problem, r.label) == cell}) == 2 for cell in cells)
    catalog = Catalog()
    for record in records:
        (name, hyper), *_ = parse(record.label)
        trial = Trial(record.problem, name, tuple(sorted(hyper.items())), record.seed, 30.0)
        assert record.key == trial.key
        (alone,) = run_group([trial], catalog)
        assert [point["loss"] for point in record.curve] == [point["loss"] for point in alone.curve]
        assert [point["passes"] for point in record.curve] == [point["passes"] for point in alone.curve]
        assert record.passes == alone.passes
        if record.problem == "mlp_iris":
            assert record.curve[-1]["test_loss"] == alone.curve[-1]["test_loss"]


def test_the_report_has_the_targets_of_the_problems(ran: Path, tmp_path: Path) -> None:
    assert main(["import", str(ran), "--out", str(tmp_path / "out")]) == 0
    facts = read_environment(tmp_path / "out")["problems"]
    assert {float(tau): value for tau, value in facts["sphere_2d"]["targets"].items()} == pytest.approx(
        Catalog().problem("sphere_2d").targets
    )
    written = report.write([tmp_path / "out"], None, report.View(axis="oracle"))
    assert written.html.is_file() and any("target" in line for line in written.verdict)


def test_an_optimizer_that_does_not_apply_is_skipped_with_the_reason_and_bad_names_are_refused() -> None:
    assert "needs 'exact'" in str(Training("dp_step", "sphere", 10.0, 0).unsupported_reason)
    with pytest.raises(RequestError, match="did you mean"):
        Training("psoo", "sphere", 10.0, 0)


def test_the_callback_ends_a_run_and_a_failure_is_an_error() -> None:
    training = Training("pso", "sphere", 1000.0, 0)
    told: list[float] = []

    def enough() -> bool:
        told.append(training.scores["passes"])
        return len(told) < 3

    training.run(enough)
    assert len(told) == 3 and told[0] == 0 and told[-1] < 1000
    with pytest.raises(RuntimeError):
        Training("mmas", "sphere", 100.0, 0).run(lambda: True)  # it has no weight grid


def test_results_of_another_benchmark_are_read_on_benchopts_own_axis(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'optbench[parquet]'")
    rows: list[dict[str, Any]] = []
    for solver, rate in (("cd", 0.5), ("ista[step=1]", 0.9)):
        for rep in range(3):
            for k in range(5):
                row = {"objective_name": "Lasso[reg=0.1]", "dataset_name": "Simulated", "solver_name": solver}
                rows.append(row | {"idx_rep": rep, "stop_val": k, "time": 0.1 * k, "objective_value": rate**k + rep})
    pd.DataFrame(rows).to_parquet(tmp_path / "lasso.parquet")
    assert benchopt.read(tmp_path / "lasso.parquet", tmp_path / "out") == 6
    records, _ = read_records(tmp_path / "out")
    assert {record.problem for record in records} == {"Simulated_Lasso_reg_0.1"}
    assert {record.label for record in records} == {"cd", "ista_step_1"}
    last = next(record for record in records if record.label == "cd" and record.seed == 2).curve[-1]
    assert last["passes"] == last["seconds"] == pytest.approx(0.4) and last["loss"] == 0.5**4 + 2
    assert report.write([tmp_path / "out"], None, report.View(axis="oracle")).html.is_file()


def test_bad_input_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="exists; remove it"):
        benchopt.write(SUITE, tmp_path)
    with pytest.raises(RequestError, match="tunes, and benchopt does not"):
        benchopt.write(Suite("t", ("sphere",), ("pso",), tune=4), tmp_path / "new")
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'optbench[parquet]'")
    with pytest.raises(RequestError, match="is no parquet file"):
        benchopt.read(tmp_path / "none.parquet", tmp_path / "out")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(RequestError, match="no result of benchopt: it has no column"):
        benchopt.read(tmp_path / "other.parquet", tmp_path / "out")
