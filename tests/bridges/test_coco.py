"""Optimizers under COCO's own observer: the log is COCO's, and cocopp's ERT of it is ours."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coco_natives
import make_coco
import numpy as np
import pandas as pd
import pytest

cocoex: Any = pytest.importorskip("cocoex", reason="needs coco-experiment: pip install 'optbench[coco]'")

from optbench.bridges import coco, coco_lanes  # noqa: E402
from optbench.bridges.coco_trial import Ended, Watch, run_trial  # noqa: E402
from optbench.cli import main  # noqa: E402
from optbench.core.objective import Stop  # noqa: E402
from optbench.core.trial import MachineError, RequestError  # noqa: E402
from optbench.problems.bbob import optimal_value  # noqa: E402
from optbench.problems.outside import PRECISIONS  # noqa: E402

SMALL: dict[str, Any] = {"functions": "1,8,15", "dimensions": "2,3", "instances": "1..3", "budget": 200.0}
GONE = """import os, signal
class Gone:
    needs = "value"
    def minimise(self, f): os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture
def cocopp() -> Iterator[Any]:
    """The post-processing, silent and without its look for the archives."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield pytest.importorskip("cocopp", reason="needs cocopp: pip install 'optbench[coco]'")


def experiment(optimizer: str, **settings: Any) -> coco.Experiment:
    return coco.Experiment(optimizer, **{**SMALL, **settings})


def costs_of(cocopp: Any, folder: Path) -> dict[tuple[int, int, float], float]:
    """{(function, dimension, precision): ERT} as cocopp computes it from COCO's log files."""
    sets = cocopp.pproc.DataSetList([str(folder)])
    found = {}
    for one in sets:
        for precision, cost in zip(PRECISIONS, one.detERT(PRECISIONS), strict=True):
            found[one.funcId, one.dim, precision] = float(cost)
    return found


@pytest.mark.parametrize(("optimizer", "more"), [("pso", {}), ("nelder_mead", {}), ("lbfgs", {"gradient": "forward"})])
def test_cocopps_ert_of_cocos_log_is_ours(optimizer: str, more: Any, tmp_path: Path, cocopp: Any) -> None:
    ended = coco.run(experiment(optimizer, **more), tmp_path, say=lambda line: None)
    assert len(ended) == 18 and not any(trial.error for trial in ended)
    ours = {(int(row["f"]), int(row["d"]), row["precision"]): row["ert"] for row in coco.ert(ended)}
    theirs = costs_of(cocopp, tmp_path / optimizer)
    assert theirs.keys() == ours.keys()
    for key, cost in ours.items():
        assert theirs[key] == pytest.approx(cost, rel=1e-12), key
    assert any(map(math.isinf, ours.values())) and sum(map(math.isfinite, ours.values())) > len(ours) / 3
    text = (tmp_path / optimizer / coco.ERT_FILE).read_text()
    assert text.count("\n") == 1 + len(ours) and text.startswith("f,d,precision,ert,hits,trials")


def test_batches_in_processes_are_the_experiment_of_one(tmp_path: Path, cocopp: Any) -> None:
    one = experiment("pso", functions="1,8", dimensions="2", instances="1..2", budget=100.0)
    alone = coco.run(one, tmp_path / "alone", say=lambda line: None)
    together = coco.run(one, tmp_path / "together", workers=2, say=lambda line: None)
    assert sorted(map(str, alone)) == sorted(map(str, together))
    assert costs_of(cocopp, tmp_path / "alone" / "pso") == costs_of(cocopp, tmp_path / "together" / "pso")
    assert (tmp_path / "together" / "pso" / "batch1of2").is_dir()


def test_a_process_that_is_lost_or_cannot_start_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone.py").write_text(GONE)
    lost = experiment("gone", functions="1,8", dimensions="2", instances="1", plugins=(str(tmp_path / "gone.py"),))
    with pytest.raises(MachineError, match=r"a process was lost.*remove .*gone and run again"):
        coco.run(lost, tmp_path / "out", workers=2, say=lambda line: None)

    def refuses(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")  # as a /dev/shm that takes nothing

    monkeypatch.setattr(coco, "ProcessPoolExecutor", refuses)
    with pytest.raises(MachineError, match="--workers 2: Permission denied; --workers 1 needs"):
        coco.run(experiment("pso"), tmp_path / "none", workers=2, say=lambda line: None)


def test_a_log_that_was_removed_meanwhile_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = coco.run_trial

    def removes(function: Any, *more: Any, **how: Any) -> Any:
        if function.id_function == 8 and (tmp_path / "pso" / "bbobexp_f1.info").is_file():
            shutil.rmtree(tmp_path / "pso")
        return ran(function, *more, **how)

    monkeypatch.setattr(coco, "run_trial", removes)
    one = experiment("pso", functions="1,8", dimensions="2", instances="1..2", budget=20.0)
    with pytest.raises(MachineError, match=r"has \d+ of 160 evaluations: it was removed meanwhile"):
        coco.run(one, tmp_path, say=lambda line: None)
    assert not (tmp_path / "pso" / coco.ERT_FILE).exists()


def test_the_budget_is_kept_and_a_trial_ends_with_the_last_target(tmp_path: Path) -> None:
    ended = coco.run(experiment("cma_es" if _has("cma") else "lbfgs", **_gradient()), tmp_path, say=lambda line: None)
    for trial in ended:
        assert trial.evaluations <= 200 * trial.d
        if PRECISIONS[-1] in trial.hits:
            assert trial.hits[PRECISIONS[-1]] == trial.evaluations
        assert list(trial.hits) == list(PRECISIONS[: len(trial.hits)])
        assert list(trial.hits.values()) == sorted(trial.hits.values())


def test_an_optimizer_that_ends_early_begins_again_from_elsewhere(tmp_path: Path) -> None:
    (trial, *_) = coco.run(
        experiment("nelder_mead", functions="15", dimensions="2", instances="1", budget=1000.0),
        tmp_path,
        say=lambda line: None,
    )
    assert trial.restarts > 1 and trial.evaluations == 2000
    log = (tmp_path / "nelder_mead" / "data_f15" / "bbobexp_f15_DIM2.rdat").read_text()
    assert len([line for line in log.splitlines() if not line.startswith("%")]) >= trial.restarts


class Repeats:
    """Asks for one point for ever."""

    needs, lanes, full_batch = "value", False, False

    def __init__(self) -> None:
        self.calls = 0

    def minimise(self, f: Any) -> None:
        x = f.start(2)
        while True:
            self.calls += 1
            f.value(x)


def test_who_asks_for_the_same_points_for_ever_is_restarted() -> None:
    from optbench.registry.catalog import Built

    function = cocoex.Suite("bbob", "instances: 1", "dimensions: 2 function_indices: 1").get_problem(0)
    optimizer: Any = Repeats()
    starts: list[Any] = []
    ended = run_trial(
        function, Built(optimizer, "value", False, None), suite="bbob", seed=1, budget=61, restarted=starts.append
    )
    assert ended.evaluations == 61 and ended.restarts == len(starts) >= 8 and optimizer.calls == 4 * 10
    function.free()


def log_of(folder: Path) -> dict[Path, bytes]:
    """{file: what COCO logged in it}."""
    return {file.relative_to(folder): file.read_bytes() for kind in ("*dat", "*.info") for file in folder.rglob(kind)}


@pytest.mark.parametrize("optimizer", ["pso", "aco_r", "spso2011[swarm=8]"])
def test_lanes_leave_the_log_of_trials_one_after_the_other(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = experiment(optimizer, functions="1,15", dimensions="3", instances="2..4", budget=150.0)
    together = coco.run(one, tmp_path / "together", say=lambda line: None)
    monkeypatch.setattr(coco, "lanes_at_once", lambda *_: 1)
    alone = coco.run(one, tmp_path / "alone", say=lambda line: None)
    assert together == alone
    assert log_of(tmp_path / "together") == log_of(tmp_path / "alone")
    monkeypatch.setattr(coco, "lanes_at_once", lambda *_: 2)  # one is left over
    assert coco.run(one, tmp_path / "two", say=lambda line: None) == alone


class StuckSometimes:
    """A random search in lanes that asks for the same points for ever once it has seen a good value."""

    needs, lanes, full_batch = "value", True, False

    def minimise(self, f: Any) -> None:
        x = f.start(2)
        while True:
            good = f.value(x).amin(1) < 85
            x[~good] = 8 * f.rand(2, f.dim)[~good] - 4


def test_a_lane_that_is_stuck_begins_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optbench.registry.catalog import Built

    optimizer: Any = StuckSometimes()
    monkeypatch.setattr(coco.Experiment, "built", lambda one: Built(optimizer, "value", True, None))
    one = experiment("pso", functions="1", dimensions="2", instances="1..4", budget=60.0)
    together = coco.run(one, tmp_path / "together", say=lambda line: None)
    monkeypatch.setattr(coco, "lanes_at_once", lambda *_: 1)
    assert coco.run(one, tmp_path / "alone", say=lambda line: None) == together
    assert log_of(tmp_path / "together") == log_of(tmp_path / "alone")
    assert len({trial.restarts for trial in together}) > 1 and {trial.evaluations for trial in together} == {120}


def test_only_what_works_in_lanes_by_values_alone_runs_in_lanes() -> None:
    built = {name: experiment(name).built() for name in ("pso", "nelder_mead")}
    assert coco_lanes.lanes_at_once(built["pso"], "bbob", 20, 20_000) == 2**28 // (8 * 20 * 20_000)
    assert coco_lanes.lanes_at_once(built["pso"], "bbob", 40, 1e9) == 1
    assert coco_lanes.lanes_at_once(built["pso"], "bbob-noisy", 20, 20_000) == 1
    assert coco_lanes.lanes_at_once(built["nelder_mead"], "bbob", 20, 20_000) == 1


def test_the_first_evaluation_is_the_middle_and_nothing_but_the_optimizer_evaluates(tmp_path: Path) -> None:
    """Scores, costs and starts are no evaluations of COCO's."""
    (trial,) = coco.run(
        experiment("random_search", functions="1", dimensions="2", instances="1", budget=50.0),
        tmp_path,
        say=lambda line: None,
    )
    assert trial.evaluations == 100
    log = (tmp_path / "random_search" / "data_f1" / "bbobexp_f1_DIM2.tdat").read_text().splitlines()
    first = next(line for line in log if not line.startswith("%"))
    assert first.split()[0] == "1" and [float(x) for x in first.split()[-2:]] == [0.0, 0.0]


def test_hits_are_counted_at_the_evaluation_and_not_at_the_call() -> None:
    function = cocoex.Suite("bbob", "instances: 1", "dimensions: 2 function_indices: 1").get_problem(0)
    best = cocoex.BareProblem("bbob", 1, 2, 1).best_parameter()
    watch = Watch(function, optimal_value("bbob", 1, 1))
    with pytest.raises(Stop):
        watch.values(np.array([best + 3.0, best + 0.5, best, best + 1]))
    assert watch.hits[100.0] == 1 and watch.hits[1.0] == 2 and watch.hits[1e-8] == 3 == watch.evaluations
    function.free()


def test_ert_by_hand() -> None:
    trials = [Ended(1, 2, 1, 100, 0, {100.0: 1, 10.0: 40}), Ended(1, 2, 2, 60, 0, {100.0: 3})]
    rows = {row["precision"]: (row["ert"], row["hits"]) for row in coco.ert(trials)}
    assert rows[100.0] == (2.0, 2) and rows[10.0] == (100.0, 1) and rows[1.0] == (math.inf, 0)


def trials_of(costs: list[float], spent: int = 1000) -> pd.DataFrame:
    """Trials that hit every precision after so many evaluations, or none (NaN)."""
    rows = {column: costs for column in make_coco.COLUMNS}
    return pd.DataFrame({"i": range(1, len(costs) + 1), "f": 1, "spent": spent, **rows})


def test_the_page_counts_an_ert_within_the_interval_of_the_originals() -> None:
    rng = np.random.default_rng(0)
    original = trials_of([100.0, 120.0, 90.0, 110.0, 105.0])
    assert make_coco.ert(original)[0] == 105.0
    for costs, within in (([104.0] * 5, True), ([80.0] * 5, False), ([140.0] * 5, False)):
        assert make_coco.is_within(trials_of(costs), original, 500, rng).tolist() == [within] * len(PRECISIONS)
    half = trials_of([100.0, math.nan, 90.0, math.nan])  # 2190 evaluations for two hits, and for four misses none
    assert make_coco.ert(half)[0] == 1095.0
    assert make_coco.is_within(half, half, 500, rng).all()


def test_noisy_functions_run_and_leave_the_hits_to_cocopp(tmp_path: Path, cocopp: Any) -> None:
    one = experiment("pso", suite="bbob-noisy", functions="101", dimensions="2", instances="1..2", budget=100.0)
    ended = coco.run(one, tmp_path, say=lambda line: None)
    assert [trial.evaluations for trial in ended] == [200, 200]
    assert not (tmp_path / "pso" / coco.ERT_FILE).exists()
    assert json.loads((tmp_path / "pso" / coco.FACTS_FILE).read_text())["evaluations"] == 400
    assert len(cocopp.pproc.DataSetList([str(tmp_path / "pso")])) == 1


def test_the_command_line_runs_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = "--optimizer pso --functions 1 --dimensions 2 --instances 1 --budget 20 --out exdata/"
    command = ["coco", *arguments.split()]
    assert main(command) == 0
    assert "python -m cocopp exdata/pso" in capsys.readouterr().out and (tmp_path / "exdata/pso/data_f1").is_dir()
    assert main(command) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "exdata/pso exists; remove it, or write --out another folder" in told


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an optimizer that needs gradients": ({"optimizer": "adam"}, "write --gradient forward"),
    "one that needs structure": ({"optimizer": "dp_step"}, "needs 'exact', the problem gives value$"),
    "an unknown suite": ({"suite": "bob"}, "did you mean 'bbob'?"),
    "an unknown function": ({"functions": "25"}, "bbob has no function f=25"),
    "an unknown dimension": (
        {"dimensions": "41"},
        "bbob has no dimension 41; it has 2, 3, 5, 10, 20, 40, the nearest is 40",
    ),
    "one that functions have and the suite has not": ({"dimensions": "7"}, "bbob has no dimension 7;"),
    "no range": ({"instances": "a"}, "--instances 'a' is not of the form 1..24 or 2,5,10"),
    "no budget": ({"budget": 0.0}, "--budget 0: a number above 0"),
    "a budget without end": ({"budget": math.inf}, "--budget inf: a number above 0"),
    "a budget for less than an evaluation": ({"budget": 0.1}, "--budget 0.1: a number above 0 that pays for"),
    "gradients of noise": ({"suite": "bbob-noisy", "functions": "101", "gradient": "forward"}, "leave it out"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_request_is_refused_before_anything_runs(what: str) -> None:
    settings, message = BAD[what]
    with pytest.raises(RequestError) as refused:
        experiment(**{"optimizer": "pso", **settings})
    assert message in f"{refused.value}$" and "\n" not in str(refused.value)


def _has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def _gradient() -> dict[str, str]:
    return {} if _has("cma") else {"gradient": "forward"}


def test_cma_es_goes_on_where_the_package_changes_coordinates(tmp_path: Path) -> None:
    """On an ill-conditioned ridge pycma counts its decompositions from none again, half-way."""
    pytest.importorskip("cma", reason="needs cma: pip install 'optbench[coco]'")
    one = experiment("cma_es", functions="13", dimensions="5", instances="4", budget=700.0)
    (trial,) = coco.run(one, tmp_path, say=lambda line: None)
    assert trial.error is None and trial.evaluations == trial.hits[1e-8]


def test_cma_es_needs_as_many_evaluations_as_pycma_run_natively(tmp_path: Path, cocopp: Any) -> None:
    """ERT to 1e-8 on the sphere and Rosenbrock's valley, 15 instances: the 99 % interval of the ratio has 1 in it."""
    pytest.importorskip("cma", reason="needs cma: pip install 'optbench[coco]'")
    chosen = {"functions": "1,8", "dimensions": "3", "instances": "1..15"}
    ended = coco.run(coco.Experiment("cma_es", **chosen), tmp_path, say=lambda line: None)
    coco_natives.run("pycma", tmp_path, functions="1,8", dimensions="3", instances="1-15", multiplier=1000.0)
    rng = np.random.default_rng(0)
    for one in cocopp.pproc.DataSetList([str(tmp_path / "pycma")]):
        (theirs,) = one.detEvals([1e-8])
        ours = np.array([trial.hits[1e-8] for trial in ended if trial.f == one.funcId])
        assert np.isfinite(theirs).all() and len(ours) == len(theirs) == 15
        drawn = [costs[rng.integers(15, size=(4000, 15))].mean(1) for costs in (ours, theirs)]
        low, high = np.quantile(drawn[0] / drawn[1], [0.005, 0.995])
        assert low <= 1 <= high and high / low < 2, (one.funcId, low, high)


def test_trials_that_ran_again_take_the_place_of_the_old_ones_and_incomplete_dimensions_go() -> None:
    def rows(d: int, functions: int, instances: int, spent: int) -> pd.DataFrame:
        each = [("a", d, f, i, spent) for f in range(1, functions + 1) for i in range(1, instances + 1)]
        return pd.DataFrame(each, columns=[*make_coco.WHO, "spent"])

    old = pd.concat([rows(2, 24, 5, 1), rows(5, 23, 5, 1), rows(10, 24, 4, 1)])
    again = rows(2, 24, 5, 2).query("f == 3")
    table = make_coco.complete(pd.concat([old, again]))
    assert set(table["d"]) == {2} and len(table) == 120
    assert table.set_index("f")["spent"].groupby("f").unique().map(list).to_dict() == {
        f: [2 if f == 3 else 1] for f in range(1, 25)
    }
    rest = rows(10, 24, 6, 3).query("i > 4")
    assert len(make_coco.complete(pd.concat([old, rest]))) == 120 + 144
