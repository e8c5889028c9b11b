"""Results in the formats of experiment trackers, read back with the trackers' own readers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.synthetic import Runner, make

import optbench
from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.records.schema import Record

RUNNERS = {
    "a": Runner(hyper={"lr": 0.1}),
    "b": Runner(fails=(1,)),
    "c": Runner(refuses=("bowl",)),
}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Twelve trials: one diverged, two that do not apply."""
    return make(tmp_path / "results", RUNNERS, seeds=2, points=6)


def leveldb_log(text: bytes) -> list[bytes]:
    """The entries of a file of wandb's: 7 bytes of header, then blocks of 32 KiB of (checksum, length, kind, part).

    kind: 1 whole, 2 first, 3 middle, 4 last part. https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    found, parts, at = [], b"", 7
    while at + 7 <= len(text):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(text[at + 4 : at + 6], "little"), text[at + 6]
        parts += text[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(parts)
            parts = b""
    return found


def ran(records: list[Record]) -> list[Record]:
    return [record for record in records if record.status != "inapplicable"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_have_every_trial_and_point(tmp_path: Path, records: list[Record], kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'optbench[parquet]'")
    optbench.export(tmp_path / "results", kind, tmp_path / "out")
    read = pd.read_csv if kind == "csv" else pd.read_parquet
    trials, points = (read(tmp_path / "out" / f"{name}.{kind}") for name in ("trials", "points"))
    assert trials["key"].tolist() == [record.key for record in records]
    assert json.loads(trials["hyper"][0]) == records[0].hyper
    for record in records:
        losses = points["loss"][points["key"] == record.key].tolist()
        wanted = [point["loss"] for point in record.curve] or [math.nan]  # one row for a trial without a point
        assert losses == pytest.approx(wanted, rel=1e-12, nan_ok=True)


def test_event_files_hold_every_scalar_at_its_pass(tmp_path: Path, records: list[Record]) -> None:
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'optbench[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    optbench.export(tmp_path / "results", "tensorboard", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("events.out.*"))) == len(ran(records)) == 10
    record = records[0]
    place = tmp_path / "out" / "bowl" / "a_lr=0.1" / "seed_0" / record.key
    found = EventAccumulator(str(place))
    found.Reload()
    scalars = found.Scalars("test_loss")
    assert [one.value for one in scalars] == pytest.approx([point["test_loss"] for point in record.curve])
    assert [one.step for one in scalars] == [round(1000 * point["passes"]) for point in record.curve]
    clock = [one.wall_time - scalars[0].wall_time for one in scalars]
    assert clock == pytest.approx([point["seconds"] for point in record.curve], abs=1e-5)
    assert found.summary_metadata["_hparams_/session_start_info"].plugin_data.plugin_name == "hparams"


def test_a_database_of_mlflow_holds_runs_settings_and_metrics(tmp_path: Path, records: list[Record]) -> None:
    for package in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(package, reason="needs mlflow: pip install 'optbench[mlflow]'")
    from optbench.bridges.mlflow import _quiet

    optbench.export(tmp_path / "results", "mlflow", tmp_path / "out")
    with _quiet():
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
        experiments = {one.name: one.experiment_id for one in client.search_experiments()}
        runs = client.search_runs([experiments["bowl"], experiments["valley"]])
        assert len(runs) == 10
        by_key = {run.data.tags["optbench.key"]: run for run in runs}
        record = records[0]
        history = client.get_metric_history(by_key[record.key].info.run_id, "loss")
    assert by_key[record.key].data.params["lr"] == "0.1"
    assert [one.value for one in history] == [point["loss"] for point in record.curve]
    diverged = next(record for record in records if record.status == "diverged")
    assert by_key[diverged.key].info.status == "FAILED"
    assert by_key[diverged.key].data.tags["optbench.error"] == diverged.error


def test_offline_runs_of_wandb_hold_settings_and_history(tmp_path: Path, records: list[Record]) -> None:
    wandb: Any = pytest.importorskip("wandb", reason="needs wandb: pip install 'optbench[wandb]'")
    from wandb.proto import wandb_internal_pb2

    optbench.export(tmp_path / "results", "wandb", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.wandb"))) == 10
    record = records[0]
    (file,) = (tmp_path / "out").rglob(f"run-{record.key}.wandb")
    history: list[dict[str, float]] = []
    config: dict[str, Any] = {}
    for data in leveldb_log(file.read_bytes()):
        item = wandb_internal_pb2.Record()
        item.ParseFromString(data)
        if item.HasField("run"):
            config |= {one.key: json.loads(one.value_json) for one in item.run.config.update}
        if item.HasField("history"):
            history.append({(one.key or one.nested_key[0]): json.loads(one.value_json) for one in item.history.item})
    assert config["lr"] == 0.1 and config["problem"] == "bowl" and config["seed"] == 0
    assert [(row["passes"], row["loss"]) for row in history] == [(p["passes"], p["loss"]) for p in record.curve]
    assert wandb.run is None


def test_what_cannot_be_exported_is_one_line(tmp_path: Path, records: list[Record], capsys: Any) -> None:
    assert main(["export", "csv", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "no result folder" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    assert main(["export", "csv", str(tmp_path / "results"), "--out", str(tmp_path / "full")]) == 2
    assert "exists; remove it" in capsys.readouterr().err
    with pytest.raises(RequestError, match="no format 'tensorbord'; did you mean 'tensorboard'"):
        optbench.export(tmp_path / "results", "tensorbord", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")]
)
def test_without_its_extra_a_format_is_refused(
    tmp_path: Path, records: list[Record], kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optbench.bridges.packages.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=rf"needs the package {package}: .*'optbench\[{kind}\]'"):
        optbench.export(tmp_path / "results", kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()
