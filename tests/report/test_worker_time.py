"""Where the time of a run went, and results that were packed for keeping."""

from __future__ import annotations

import importlib.util
import lzma
from pathlib import Path
from types import ModuleType

import pytest
from helpers.synthetic import Runner, make

from optbench.core.trial import RequestError
from optbench.records.reader import read
from optbench.records.schema import RECORDS, lines
from optbench.report import write
from optbench.report.analysis import time_spent
from optbench.report.analysis.load import load_study
from optbench.report.sections.speed import spent_by_problem, spent_sentence

ROOT = Path(__file__).parents[2]


def test_worker_time_is_shared_out_over_lanes_and_settings(tmp_path: Path) -> None:
    """By hand: two settings of `a` with 5 seeds in lanes, each 2 s of a worker and a clock of 5 s for all lanes."""
    runners = {"a1": Runner(name="a", hyper={"lr": 0.1}), "a2": Runner(name="a", hyper={"lr": 0.2}), "b": Runner()}
    records = make(tmp_path, runners, ["p", "q"], seeds=5, tuned={"a": ["a1", "a2"]})
    for record in records:
        record.wall_seconds, record.lanes, record.seconds, record.warmup_seconds = 2.0, 5, 5.0, 0.5
        if record.optimizer == "b":
            record.wall_seconds, record.lanes = 8.0, 1
    (tmp_path / RECORDS).write_text("".join(record.line() + "\n" for record in records))
    table = time_spent.worker_time(load_study([read(tmp_path)]))
    found = {(row["problem"], row["label"].split()[0]): row for row in table.to_dict("records")}
    assert len(table) == 4
    a, b = found["p", "a"], found["q", "b"]
    assert (a["trials"], a["worker_seconds"], a["clock_seconds"], a["warmup_seconds"]) == (10, 20.0, 10.0, 1.0)
    assert (b["trials"], b["worker_seconds"], b["clock_seconds"], b["warmup_seconds"]) == (5, 40.0, 25.0, 2.5)
    text = spent_sentence(table)
    assert text.startswith("30 trials took 120 s of worker time: 58.3 % in optimizers, 5.83 % in warm-up and tracing")
    assert "35.8 % in scoring" in text and "b (66.7 %) and a (tuned, 2) (33.3 %)" in text
    shown = spent_by_problem(table)
    assert shown["worker time"].tolist() == ["60.0 s", "60.0 s"] and shown["of all"].tolist() == ["50 %", "50 %"]


def test_records_that_do_not_tell_make_no_table(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner()})
    table = time_spent.worker_time(load_study([read(tmp_path)]))
    assert table.empty and spent_by_problem(table).empty and spent_sentence(table) == ""


def script() -> ModuleType:
    where = importlib.util.spec_from_file_location("pack_results", ROOT / "scripts" / "pack_results.py")
    assert where and where.loader
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module


def test_packed_results_make_the_same_report(tmp_path: Path) -> None:
    make(tmp_path / "whole", {"a": Runner(fails=(0,)), "b": Runner(rate=1.0), "c": Runner(refuses=("bowl",))})
    script().keep(tmp_path / "whole", tmp_path / "packed")
    assert not (tmp_path / "packed" / RECORDS).exists()
    one, other = read(tmp_path / "whole"), read(tmp_path / "packed")
    assert other.notes == [] and one.trials.equals(other.trials)
    for name in one.points:
        assert other.points[name].to_numpy() == pytest.approx(one.points[name].to_numpy(), rel=6e-4, nan_ok=True)
    assert other.points["loss"].to_numpy() == pytest.approx(one.points["loss"].to_numpy(), rel=1e-7, nan_ok=True)
    assert (tmp_path / "packed" / "figures" / "scores.png").exists()
    write([tmp_path / "packed"], tmp_path / "report")
    assert "Of 30 planned trials" in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(RequestError, match="is not complete: 7 of 10 planned"):
        make(tmp_path / "part", {"a": Runner()}, keep=3)
        script().keep(tmp_path / "part", tmp_path / "out")


def test_a_damaged_pack_is_refused_in_one_line(tmp_path: Path) -> None:
    make(tmp_path, {"a": Runner()})
    whole = lzma.compress((tmp_path / RECORDS).read_bytes())
    (tmp_path / RECORDS).unlink()
    (tmp_path / f"{RECORDS}.xz").write_bytes(whole[:-50])
    with pytest.raises(RequestError, match="is damaged"):
        list(lines(tmp_path))
