"""IOHprofiler's format: what we write is read by iohinspector and by us, what `ioh` writes is read by us."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optbench import api, report
from optbench.bridges import iohprofiler
from optbench.cli import main
from optbench.core.trial import RequestError, Trial
from optbench.records.files import read_records
from optbench.records.reader import read
from optbench.records.schema import Record
from optbench.records.store import Store
from optbench.report.analysis.load import load_study


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of functions and of a network, with settings, and a trial that does not apply."""
    folder = tmp_path_factory.mktemp("run") / "results"
    api.run(
        out=folder,
        problems=["sphere_2d", "mlp_iris", "step_1d"],
        optimizers=["pso[swarm=10,20]", "adam", "dp_step"],
        seeds=2,
        passes=60.0,
        timing=False,
        workers=1,
    )
    return folder


def test_back_and_forth_leaves_every_run_as_it_was(results: Path, tmp_path: Path) -> None:
    written, left = iohprofiler.write(results, tmp_path / "ioh")
    before = {record.key: record for record in read_records(results)[0]}
    assert written + left == len(before) and left == 4  # dp_step is for one input alone
    assert iohprofiler.read(tmp_path / "ioh", tmp_path / "back") == written
    after = {record.key: record for record in read_records(tmp_path / "back")[0]}
    assert after.keys() == {key for key, record in before.items() if record.status != "inapplicable"}
    for key, record in after.items():
        old = before[key]
        for name in ("problem", "label", "seed", "status", "budget", "passes", "device", "hyper"):
            assert getattr(record, name) == getattr(old, name), name
        assert record.curve == old.curve and record.own_flops == old.own_flops


def test_splits_of_the_data_go_there_as_instances_and_come_back(tmp_path: Path) -> None:
    api.run(
        out=tmp_path / "run",
        problems=["line_mse"],
        optimizers=["pso"],
        seeds=3,
        splits=3,
        passes=20.0,
        timing=0,
        workers=1,
    )
    assert iohprofiler.write(tmp_path / "run", tmp_path / "ioh") == (3, 0)
    assert iohprofiler.read(tmp_path / "ioh", tmp_path / "back") == 3
    before, after = ({r.key: r for r in read_records(tmp_path / name)[0]} for name in ("run", "back"))
    assert before.keys() == after.keys() and [after[key].split for key in before] == [0, 1, 2]
    for key, record in after.items():
        assert record.curve == before[key].curve
    (head,) = (json.loads(path.read_text()) for path in (tmp_path / "ioh").rglob("*.json"))
    assert [run["instance"] for run in head["scenarios"][0]["runs"]] == [1, 2, 3]


def test_the_report_says_of_what_came_back_what_it_said_before(results: Path, tmp_path: Path) -> None:
    """Scores and the lines on targets; only what has no place in the format, certificates, is gone."""
    iohprofiler.write(results, tmp_path / "ioh")
    iohprofiler.read(tmp_path / "ioh", tmp_path / "back")
    found = []
    for folder in (results, tmp_path / "back"):
        study = load_study([read(folder)])
        costs = zip(study.trials["key"], study.trials["status"], study.passes_to, strict=True)
        found.append({key: list(cost) for key, status, cost in costs if status != "inapplicable"})
    assert found[0] == found[1] and any(math.isfinite(cost) for costs in found[0].values() for cost in costs)


def test_iohinspector_reads_what_we_write(results: Path, tmp_path: Path) -> None:
    iohinspector: Any = pytest.importorskip("iohinspector", reason="needs iohinspector: pip install 'optbench[ioh]'")
    written, _ = iohprofiler.write(results, tmp_path / "ioh")
    manager = iohinspector.DataManager()
    manager.add_folder(str(tmp_path / "ioh"))
    assert len(manager.overview) == written
    assert {a.name for a in manager.algorithms} == {"pso[swarm=10]", "pso[swarm=20]", "adam", "dp_step"}
    table = manager.load(monotonic=True, include_meta_data=True).to_pandas()
    for record in read_records(results)[0]:
        if record.problem == "sphere_2d" and record.status != "inapplicable":
            mine = table[(table["function_name"] == "sphere_2d") & (table["algorithm_name"] == record.label)]
            lowest = mine.groupby("data_id")["raw_y"].min()
            assert min(point["loss"] for point in record.curve) in lowest.to_numpy()


def test_a_run_that_measured_nothing_stays_a_run(tmp_path: Path) -> None:
    trial = Trial("sphere_2d", "pso", (), 0, 10.0)
    with Store(tmp_path / "one") as store:
        store.append(Record(trial.key, "sphere_2d", "pso", {}, 0, 10.0, "cpu", "failed", "it broke"))
    assert iohprofiler.write(tmp_path / "one", tmp_path / "ioh") == (1, 0)
    iohprofiler.read(tmp_path / "ioh", tmp_path / "back")
    (record,) = read_records(tmp_path / "back")[0]
    assert record.status == "failed" and record.curve == [] and record.key == trial.key
    (file,) = (tmp_path / "ioh").rglob("*.json")
    assert math.isfinite(json.loads(file.read_text())["scenarios"][0]["runs"][0]["best"]["y"])


def test_what_ioh_logs_of_bbob_is_read_as_bbob(tmp_path: Path) -> None:
    ioh: Any = pytest.importorskip("ioh", reason="needs ioh: pip install 'optbench[ioh]'")
    pytest.importorskip("cocoex", reason="needs coco-experiment: pip install 'optbench[coco]'")
    logger = ioh.logger.Analyzer(root=str(tmp_path), folder_name="logged", algorithm_name="random")
    best: dict[int, float] = {}
    for instance in (1, 2):
        function = ioh.get_problem(8, instance, 3, ioh.ProblemClass.BBOB)
        function.attach_logger(logger)
        for seed in (0, 1):
            draws = np.random.default_rng(seed).uniform(-5, 5, (40, 3))
            best[10 * instance + seed] = min(function(point) for point in draws)
            function.reset()
    logger.close()
    for file in (tmp_path / "logged").rglob("*.json"):  # ioh states the suite where a suite was run
        file.write_text(file.read_text().replace("unknown_suite", "BBOB"))
    assert iohprofiler.read(tmp_path / "logged", tmp_path / "out") == 4
    found = read_records(tmp_path / "out")[0]
    assert {record.problem for record in found} == {"bbob[d=3,f=8,i=1]", "bbob[d=3,f=8,i=2]"}
    for record in found:
        instance = int(record.problem[-2])
        lowest = min(point["loss"] for point in record.curve)
        assert lowest == pytest.approx(best[10 * instance + record.seed], abs=1e-9) and record.passes == 40
    assert report.write([tmp_path / "out"], None, report.View()).html.is_file()


def test_the_command_line_writes_and_reads(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "ioh", str(results), "--out", str(tmp_path / "ioh")]) == 0
    assert "4 trials that do not apply are left out" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "ioh"), "--out", str(tmp_path / "back")]) == 0
    assert "python -m optbench report" in capsys.readouterr().out


def test_bad_input_is_refused_in_one_line(results: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no records"):
        iohprofiler.write(tmp_path, tmp_path / "ioh")
    with Store(tmp_path / "none") as store:
        key = Trial("step_1d", "adam", (), 0, 5.0).key
        store.append(Record(key, "step_1d", "adam", {}, 0, 5.0, "cpu", "inapplicable", "needs 'grad'"))
    with pytest.raises(RequestError, match=r"no trial of .* applies"):
        iohprofiler.write(tmp_path / "none", tmp_path / "ioh")
    (tmp_path / "there").mkdir()
    with pytest.raises(RequestError, match="exists; remove it"):
        iohprofiler.write(results, tmp_path / "there")
    with pytest.raises(RequestError, match="holds no JSON file of IOHprofiler"):
        iohprofiler.read(tmp_path / "there", tmp_path / "out")
    (tmp_path / "there" / "a.json").write_text("{}")
    with pytest.raises(RequestError, match="not in IOHprofiler's format"):
        iohprofiler.read(tmp_path / "there", tmp_path / "out")
    iohprofiler.write(results, tmp_path / "ioh")
    broken = next((tmp_path / "ioh").rglob("*.dat"))
    broken.write_text(broken.read_text().partition("\nevaluations")[0])
    with pytest.raises(RequestError, match="not all were written"):
        iohprofiler.read(tmp_path / "ioh", tmp_path / "out")
