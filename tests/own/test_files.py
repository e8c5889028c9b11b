"""Data in files through the command line: a table of 50,000 rows, a folder of pictures; and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from optbench.cli import main
from optbench.core.trial import RequestError
from optbench.own.files import read
from optbench.records.files import read_environment, read_records

MODELS = """
from torch import nn

class Act(nn.Module):
    def forward(self, x):
        return x.relu()

def mlp(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 8), Act(), nn.Linear(8, outputs))

def cnn(inputs, outputs):
    body = [nn.Conv2d(inputs[0], 4, 3), nn.BatchNorm2d(4), Act(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(4 * 4 * 4, outputs))
"""


def pictures(folder: Path, count: int = 30) -> Path:
    rng = np.random.default_rng(0)
    for part, many in (("train", count), ("val", 12)):
        for channel, name in ((0, "cat"), (2, "dog")):
            (folder / part / name).mkdir(parents=True)
            for k in range(many):
                picture = rng.integers(0, 120, (12, 12, 3), dtype=np.uint8)
                picture[..., channel] += 60
                Image.fromarray(picture).save(folder / part / name / f"{k}.png")
    return folder


def table(rows: int, columns: int) -> pd.DataFrame:
    x = np.random.default_rng(0).normal(size=(rows, columns)).astype("float32")
    kind = np.where(x[:, 0] + x[:, 1] * x[:, -1] > 0, "up", "down")
    return pd.DataFrame(3 * x + 5, columns=[f"c{k}" for k in range(columns)]).assign(kind=kind)


def command(folder: Path, model: str, data: Path, *more: str) -> int:
    (folder / "nets.py").write_text(MODELS)
    given = ["--model", f"{folder / 'nets.py'}:{model}", "--data", str(data), "--out", str(folder / "out"), *more]
    return main(["run", *given, "--optimizer", "sgd", "--seeds", "2", "--passes", "2", "--workers", "1", "-q"])


def test_a_table_of_50_000_by_100_through_the_command_line(tmp_path: Path) -> None:
    table(50_000, 100).to_parquet(tmp_path / "table.parquet", index=False)
    assert command(tmp_path, "mlp", tmp_path / "table.parquet", "--target", "kind", "--batch", "500") == 0
    (fact,) = read_environment(tmp_path / "out")["problems"].values()
    assert (fact["train"], fact["valid"], fact["test"], fact["dim"]) == (35_000, 7_500, 7_500, 826)
    assert fact["loss"] == "cross-entropy" and fact["batch"] == 500
    records = read_records(tmp_path / "out")[0]
    assert {record.status for record in records} == {"spent"} and "test_accuracy" in records[0].curve[-1]


def test_a_folder_of_pictures_through_the_command_line(tmp_path: Path) -> None:
    assert command(tmp_path, "cnn", pictures(tmp_path / "pets")) == 0
    (fact,) = read_environment(tmp_path / "out")["problems"].values()
    assert (fact["train"], fact["valid"], fact["test"]) == (60, 24, 0)
    assert {record.status for record in read_records(tmp_path / "out")[0]} == {"spent"}


def test_tables_are_standardised_on_the_training_rows_of_their_own_split(tmp_path: Path) -> None:
    frame = table(300, 3).assign(split=["train"] * 200 + ["valid"] * 60 + ["test"] * 40)
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = read(tmp_path / "t.csv", "kind", True)
    assert [len(part[0]) for part in (found.train, found.valid, found.test)] == [200, 60, 40]
    assert found.train[0].mean().item() == pytest.approx(0, abs=1e-5) and found.outputs == 2 and found.inputs == (3,)
    raw = frame[["c0", "c1", "c2"]].to_numpy()
    expected = (raw[200:260] - raw[:200].mean(0)) / raw[:200].std(0)
    assert found.valid[0].numpy() == pytest.approx(expected, abs=1e-4)


def test_archives_of_arrays_with_and_without_splits(tmp_path: Path) -> None:
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
    np.savez(tmp_path / "one.npz", x=x, y=y)
    assert [len(part[0]) for part in read(tmp_path / "one.npz", None, False)[:3]] == [14, 3, 3]
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_val=x[:4], y_val=y[:4])
    found = read(tmp_path / "two.npz", None, False)
    assert len(found.train[0]) == 20 and len(found.valid[0]) == 4 and found.test is False and found.outputs == 1


def test_what_is_wrong_with_files_is_one_line(tmp_path: Path) -> None:
    pets = pictures(tmp_path / "pets", 12)
    frame = table(30, 2)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.assign(c0=np.where(np.arange(30) == 4, np.nan, 1.0)).to_csv(tmp_path / "nan.csv", index=False)
    frame.assign(split="training set").to_csv(tmp_path / "split.csv", index=False)
    (tmp_path / "x.txt").write_text("")
    np.savez(tmp_path / "odd.npz", a=np.zeros(3), b=np.zeros(3))
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "pets" / "train" / "dog" / "z.png")
    wrong = {
        ("no.csv", None): "no such file",
        ("x.txt", None): r"\.txt is none of \.csv",
        ("t.csv", "kinds"): "did you mean 'kind'",
        ("nan.csv", "kind"): "NaN or infinite at row 4, column 0",
        ("split.csv", "kind"): "split 'training set' is not one of train, valid, test",
        ("odd.npz", None): "needed are x and y",
        ("pets", None): r"z\.png: a picture of \(1, 5, 6\), the first has \(3, 12, 12\)",
    }
    for (name, target), told in wrong.items():
        with pytest.raises(RequestError, match=told) as refused:
            read(tmp_path / name, target, True)
        assert "\n" not in str(refused.value)
    for file in (pets / "train" / "dog").iterdir():
        file.unlink()
    with pytest.raises(RequestError, match="holds no picture"):
        read(pets, None, True)


def test_a_model_that_is_not_there_or_data_without_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = table(30, 2)
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert command(tmp_path, "mlpp", tmp_path / "t.csv", "--target", "kind") == 2
    assert "did you mean 'mlp'" in capsys.readouterr().err
    assert main(["run", "--data", "t.csv"]) == 2
    assert "--data goes with --model" in capsys.readouterr().err
