"""Problems whose data the user brings: a table of images, the full Fashion-MNIST. A bad input is one clear line."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optbench.core.problem import Splits, fresh
from optbench.problems import cnn_fashion
from optbench.problems.cnn_fashion import CnnFashionFull, _idx
from optbench.problems.own_images import OwnImagesClass, OwnImagesRegression

Table = Callable[..., str]
BRIGHT = {0: 40.0, 1: 120.0}  # the two classes of the images below


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes images of two classes of brightness and a table of them, whose lines a test may change."""

    def write(
        change: Callable[[list[str]], list[str]] = lambda lines: lines, split: bool = True, count: int = 12
    ) -> str:
        stream = np.random.default_rng(0)
        lines = ["image,label,split" if split else "image,label"]
        for i in range(count):
            pixels = stream.normal(BRIGHT[i % 2], 20, (20, 16)).clip(0, 255)
            if i % 3:
                np.save(tmp_path / f"{i}.npy", pixels)
                name = f"{i}.npy"
            else:
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{i}.png")
                name = f"{i}.png"
            part = "train" if i < count - 4 else "valid" if i < count - 2 else "test"
            lines.append(f"{name},{i % 2}" + (f",{part}" if split else ""))
        (tmp_path / "table.csv").write_text("\n".join(change(lines)) + "\n")
        return str(tmp_path / "table.csv")

    return write


def test_images_and_labels_arrive_as_they_are(table: Table) -> None:
    problem = OwnImagesClass(table())
    splits = problem.data()
    assert [tuple(part[0].shape) for part in splits if part] == [(8, 1, 20, 16), (2, 1, 20, 16), (2, 1, 20, 16)]
    assert splits.train[1].tolist() == [0, 1] * 4
    assert abs(splits.train[0].mean()) < 1e-6 and abs(splits.train[0].std() - 1) < 1e-6
    first = np.asarray(Image.open(Path(problem.table).parent / "0.png"), dtype=np.float32)
    shift = splits.train[0][0, 0] - torch.as_tensor(first) / (first.std(ddof=1) / splits.train[0][0, 0].std())
    assert shift.std() < 1e-4  # the same picture up to one scale and one offset


def test_a_class_is_learnt_and_a_number_too(table: Table) -> None:
    path = table()
    for problem in (OwnImagesClass(path), OwnImagesRegression(path)):
        net = fresh(problem, 0)[0]
        train, adam = problem.data().train, torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(40):
            adam.zero_grad()
            problem.loss(net, train).backward()
            adam.step()
        assert problem.loss(net.eval(), train) < 0.5 * problem.start


def test_without_a_split_column_seventy_percent_train(table: Table) -> None:
    splits = OwnImagesRegression(table(split=False, count=20)).data()
    assert [len(part[0]) for part in splits if part] == [14, 3, 3]
    assert isinstance(splits, Splits)


def replaced(row: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:row], text, *lines[row + 1 :]]


BAD = {
    "a missing value": (replaced(3, "2.npy,,train"), r"row 4: the value of label is missing"),
    "a label that is NaN": (replaced(3, "2.npy,nan,train"), r"row 4: label nan is missing or infinite"),
    "a label that is text": (replaced(3, "2.npy,sick,train"), r"row 4: label 'sick' is not a number"),
    "a label out of range": (replaced(3, "2.npy,2,train"), r"row 4: label 2 is out of range, 2 classes are 0 to 1"),
    "a label that is no class": (replaced(3, "2.npy,0.5,train"), r"row 4: label 0\.5 is out of range"),
    "wrong columns": (replaced(0, "file,label,split"), r"columns file, label, split; needed are image,label"),
    "too many cells": (replaced(3, "2.npy,0,train,x"), r"row 4: more cells than columns"),
    "an unknown split": (replaced(3, "2.npy,0,dev"), r"row 4: split 'dev' is not one of train, valid, test"),
    "an empty split": (lambda lines: [line.replace("valid", "train") for line in lines], r"the split valid is empty"),
    "no rows": (lambda lines: lines[:1], r"no rows"),
    "an image in two splits": (
        lambda lines: [*lines, "2.npy,0,test"],
        r"row 14: image '2\.npy' is also in another split",
    ),
    "an image in two splits by two names": (
        lambda lines: [*lines, "./2.npy,0,test"],
        r"row 14: image '\./2\.npy' is also in another split",
    ),
    "an absent image": (replaced(3, "gone.npy,0,train"), r"row 4: image 'gone\.npy' does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_in_one_line(case: str, table: Table) -> None:
    change, message = BAD[case]
    path = table(change)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        OwnImagesClass(path).data()
    assert path in str(caught.value) and "\n" not in str(caught.value)


def test_bad_images_are_refused_in_one_line(table: Table) -> None:
    for content, message in (
        (np.zeros((20, 17)), r"row 3: image '1\.npy' is 20x17, the first image 20x16"),
        (np.zeros((3, 20, 16)), r"shape \(3, 20, 16\)"),
        (np.full((20, 16), np.nan), r"row 3: image '1\.npy' has missing or infinite values"),
        (np.array([{"a": 1}], dtype=object), r"row 3: image '1\.npy' cannot be read"),
    ):
        path = table(count=13)
        np.save(Path(path).parent / "1.npy", content, allow_pickle=True)
        renamed = Path(path).rename(Path(path).with_name(f"{abs(hash(message))}.csv"))
        with pytest.raises(ValueError, match=message) as caught:
            OwnImagesClass(str(renamed)).data()
        assert "\n" not in str(caught.value)


def test_a_text_file_is_no_image(table: Table) -> None:
    path = table(replaced(3, "table.csv,0,train"))
    with pytest.raises(ValueError, match=r"row 4: image 'table\.csv' cannot be read"):
        OwnImagesClass(path).data()


@pytest.mark.parametrize("content", ["image,label,split\nü.npy,0,train\n".encode("latin-1"), bytes(range(256))])
def test_a_file_that_is_no_text_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "scans.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"scans\.csv is no CSV file in UTF-8") as caught:
        OwnImagesClass(str(path)).data()
    assert "\n" not in str(caught.value)


def test_no_table_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"own images need a table: own_images_class\[table=FILE\.csv\]"):
        OwnImagesClass().data()
    with pytest.raises(FileNotFoundError, match=r"no table .*absent\.csv"):
        OwnImagesClass(str(tmp_path / "absent.csv")).data()


def test_the_full_fashion_says_which_file_is_missing_and_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz.*dataset-fashion-mnist.*folder=DIR"):
        CnnFashionFull(folder=str(tmp_path)).data()


def test_the_full_fashion_is_read_from_its_four_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the right kind with fewer pictures: the pixels and labels arrive, 90 % of them to train on."""
    monkeypatch.setattr(cnn_fashion, "PARTS", {"train": 20, "t10k": 10})
    stream = np.random.default_rng(0)
    for part, count in cnn_fashion.PARTS.items():
        pixels = stream.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        head = struct.pack(">4I", 2051, count, 28, 28), struct.pack(">2I", 2049, count)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head[0] + pixels.tobytes()))
        labels = np.arange(count, dtype=np.uint8) % 10
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head[1] + labels.tobytes()))
    problem = CnnFashionFull(folder=str(tmp_path))
    splits = problem.data()
    assert [tuple(part[0].shape) for part in splits if part] == [(18, 1, 28, 28), (2, 1, 28, 28), (10, 1, 28, 28)]
    assert splits.test is not None and splits.test[1].tolist() == list(range(10))
    assert torch.equal(splits.test[0][:, 0], torch.tensor(pixels / np.float32(255)))
    assert problem.loss(fresh(problem, 0)[0].eval(), splits.train).item() == pytest.approx(problem.start, rel=0.02)


def test_idx_files_are_read_and_bad_ones_refused(tmp_path: Path) -> None:
    pixels = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    good = tmp_path / "good.gz"
    good.write_bytes(gzip.compress(struct.pack(">4I", 2051, 2, 28, 28) + pixels.tobytes()))
    assert np.array_equal(_idx(good, 2051, (2, 28, 28)), pixels)
    with pytest.raises(ValueError, match=r"good\.gz holds \(2, 28, 28\) and 1568 bytes.*\(3, 28, 28\)"):
        _idx(good, 2051, (3, 28, 28))
    short = tmp_path / "short.gz"
    short.write_bytes(good.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"short\.gz is no idx\.gz file"):
        _idx(short, 2051, (2, 28, 28))
    plain = tmp_path / "plain.gz"
    plain.write_bytes(b"not compressed")
    with pytest.raises(ValueError, match=r"plain\.gz is no idx\.gz file"):
        _idx(plain, 2051, (2, 28, 28))
