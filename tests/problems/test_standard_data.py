"""Standard data sets in the formats that they come in, DeepOBS's networks, and what is refused."""

from __future__ import annotations

import gzip
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cifar import COLOUR, cifar_batches, write_cifar
from torch import nn

from optbench.cli import main
from optbench.core.problem import dimension, fresh
from optbench.core.trial import Trial
from optbench.engine.data import splits
from optbench.execution.lane_group import run_group
from optbench.problems import data_files, deepobs_networks
from optbench.registry.catalog import Catalog
from optbench.registry.listing import listing

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)


def write_idx(folder: Path, packed: bool = False, train: int = 20, classes: int = 10) -> None:
    """A small data set as MNIST comes: 20 training and 10 test pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, x in (("train", PIXELS[:train]), ("t10k", PIXELS[20:])):
        labels = (np.arange(len(x)) % classes).astype(np.uint8)
        for name, kind, array in (("images-idx3", 2051, x), ("labels-idx1", 2049, labels)):
            content = struct.pack(f">{1 + array.ndim}I", kind, *array.shape) + array.tobytes()
            if packed:
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{part}-{name}-ubyte").write_bytes(content)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder OPTBENCH_DATA."""
    monkeypatch.setenv(data_files.VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("folder", "packed"), [("MNIST/raw", False), ("mnist", True)])
def test_mnist_is_read_in_either_layout(root: Path, folder: str, packed: bool) -> None:
    write_idx(root / folder, packed)
    data = Catalog().problem("mnist_2c2d").data()
    assert data.valid is not None and data.test is not None
    assert [len(part[0]) for part in (data.train, data.valid, data.test)] == [16, 4, 10]
    assert torch.equal(data.test[0], torch.from_numpy(PIXELS[20:, None]).float() / 255)
    assert data.test[1].tolist() == list(range(10))
    whole = torch.cat([data.train[0], data.valid[0]])
    assert sorted(whole.sum((1, 2, 3)).tolist()) == pytest.approx(sorted((PIXELS[:20] / 255.0).sum((1, 2)).tolist()))


@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_cifar_is_read_as_pickles_and_as_rows(root: Path, hundred: bool, binary: bool) -> None:
    write_cifar(root, hundred, binary)
    data = Catalog().problem("cifar100_allcnnc" if hundred else "cifar10_3c3d").data()
    _, x, y = list(cifar_batches(hundred))[-1]
    assert data.test is not None
    assert torch.equal(data.test[0], torch.from_numpy(x).float() / 255) and data.test[1].tolist() == y


def test_a_pickle_that_would_run_something_is_refused(root: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.mkdir, (root / "made_by_a_pickle",))

    (root / "cifar-10-batches-py").mkdir()
    for name, _, _ in cifar_batches(False):
        (root / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"data": Evil(), "labels": [1]}))
    with pytest.raises(ValueError, match=r"data_batch_1 is no batch of CIFAR .*which is no data"):
        Catalog().problem("cifar10_3c3d").data()
    assert not (root / "made_by_a_pickle").exists()


def test_svhn_and_characters(root: Path) -> None:
    from scipy.io import savemat

    for part in ("train", "test"):
        savemat(root / f"{part}_32x32.mat", {"X": COLOUR.transpose(2, 3, 1, 0), "y": np.array([[10], [1], [9]] * 20)})
    data = Catalog().problem("svhn_wrn164").data()
    assert data.test is not None
    assert torch.equal(data.test[0], torch.from_numpy(COLOUR).float() / 255)
    assert data.test[1].tolist() == [0, 1, 9] * 20  # a zero is written as 10
    (root / "tolstoi").mkdir()
    for part, count in (("train", 1000), ("test", 151)):
        np.save(root / "tolstoi" / f"{part}.npy", np.arange(count) % 83)
    data = Catalog().problem("tolstoi_char_rnn").data()
    assert data.test is not None and data.test[0].shape == data.test[1].shape == (3, 50)
    assert data.test[1].flatten().tolist() == [k % 83 for k in range(1, 151)]


# As published: DeepOBS's paper and page name 2c2d, 3c3d and All-CNN-C, Zagoruyko & Komodakis 2.7 million for WRN-16-4.
# The VAE and the LSTM are summed by hand from DeepOBS's layers: convolution k x k, a to b, has k k a b + b parameters.
VAE = (16 * 64 + 64) + 2 * (16 * 64 * 64 + 64) + 2 * (3136 * 8 + 8) + (8 * 24 + 24) + (24 * 49 + 49)
VAE += (16 * 64 + 64) + 2 * (16 * 64 * 64 + 64) + (12544 * 784 + 784)
LSTM = 83 * 128 + 2 * (4 * (128 * 128 + 128 * 128 + 2 * 128)) + (128 * 83 + 83)
COUNTS = {
    "mnist_2c2d": 3_274_634,
    "fmnist_2c2d": 3_274_634,
    "cifar10_3c3d": 895_210,
    "cifar100_allcnnc": 1_387_108,
    "mnist_vae": VAE,
    "fmnist_vae": VAE,
    "tolstoi_char_rnn": LSTM,
}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_networks_have_the_published_number_of_parameters(name: str, count: int) -> None:
    assert dimension(Catalog().problem(name)) == count


def test_the_wide_residual_network_has_2_7_million() -> None:
    assert f"{dimension(Catalog().problem('svhn_wrn164')) / 1e6:.1f}" == "2.7"


def test_the_lstm_is_torchs() -> None:
    net = deepobs_networks.CharRnn(83, 16).eval()
    theirs = nn.LSTM(16, 16, 2, batch_first=True)
    for k in range(2):
        for kind, layers in (("ih", net.inputs), ("hh", net.states)):
            getattr(theirs, f"weight_{kind}_l{k}").data = layers[k].weight.data
            getattr(theirs, f"bias_{kind}_l{k}").data = layers[k].bias.data
    x = torch.randint(83, (3, 20))
    assert torch.allclose(net(x), net.head(theirs(net.symbol(x))[0]), atol=1e-6)


def test_same_padding_is_tensorflows() -> None:
    """Of 3 around 32 by steps of 2: one behind, none before; of 4 by steps of 1: one before, two behind."""
    pad = deepobs_networks.Same(3, 2)(torch.ones(1, 1, 32, 32))
    assert pad.shape == (1, 1, 33, 33) and pad[0, 0, 0, 0] == 1 and pad[0, 0, -1, -1] == 0
    pad = deepobs_networks.Same(4, 1)(torch.ones(1, 1, 7, 7))
    assert pad.shape == (1, 1, 10, 10) and pad[0, 0, 0].sum() == 0 and pad[0, 0, 1].sum() == 7


def test_2c2d_trains_as_a_bare_loop_to_the_bit(root: Path) -> None:
    """SGD on one full batch, where no order of samples is drawn."""
    write_idx(root / "FashionMNIST/raw")
    catalog = Catalog()
    problem = catalog.problem("fmnist_2c2d")
    (record,) = run_group([Trial("fmnist_2c2d", "sgd", (("lr", 0.01),), 3, 9.0)], catalog)
    net = fresh(problem, 3)[0]
    x, y = problem.data().train
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for _ in range(4):
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(net(x), y).item())
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    at = {round(point["backward"] / 16): point["loss"] for point in record.curve}
    assert sorted(at) == [0, 1, 2, 3]
    assert [at[k] for k in sorted(at)] == [losses[k] for k in sorted(at)]


def test_what_is_missing_or_damaged_is_one_line(root: Path, capsys: Any) -> None:
    def refusal() -> str:
        assert main(["run", "--problem", "mnist_2c2d", "--optimizer", "sgd", "--out", str(root / "out")]) == 2
        return capsys.readouterr().err

    assert "mnist needs" in (text := refusal()) and "and 3 more" in text and "optbench data mnist --download" in text
    assert "\n" not in text.strip()
    write_idx(root / "mnist")
    (root / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte:" in refusal()
    (root / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x0anot ten")
    assert "t10k-labels-idx1-ubyte: kind 2049, 7 bytes for (10,)" in refusal()


def test_labels_out_of_range_are_refused(root: Path) -> None:
    write_idx(root / "mnist", classes=12)
    with pytest.raises(ValueError, match="labels 0 to 11, mnist has 10 classes"):
        Catalog().problem("mnist_2c2d").data()


def test_without_the_folder_it_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv(data_files.VARIABLE, raising=False)
    assert main(["run", "--problem", "svhn_wrn164", "--optimizer", "sgd"]) == 2
    assert "svhn is read from the folder that OPTBENCH_DATA names" in capsys.readouterr().err


def test_list_says_which_are_ready(root: Path) -> None:
    write_idx(root / "mnist")
    rows = {row["name"]: row.get("data") for row in listing()["problems"]}
    assert rows["mnist_2c2d"] == "ready" and rows["cifar10_3c3d"] == "optbench data cifar10" and rows["sphere"] is None


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A server on this machine, and the folder that it shows."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    folder = tmp_path / "mirror"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_download_is_checked_and_unpacked(
    root: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder, url = mirror
    with tarfile.open(folder / "cifar-100-python.tar.gz", "w:gz") as archive:
        for name, x, y in cifar_batches(True):
            text = pickle.dumps({"data": x.reshape(10, -1), "fine_labels": y}, protocol=2)
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    command = ["data", "cifar100", "--download", "--mirror", url]
    assert main(command) == 2
    assert "published is eb9058c3a382ffc7106e4002c42a8d85; nothing was kept" in capsys.readouterr().err
    assert not list(root.glob("cifar*"))
    known = data_files.md5(folder / "cifar-100-python.tar.gz")
    stated = data_files.DATA_SETS["cifar100"]
    changed = stated._replace(files=(data_files.File("cifar-100-python.tar.gz", known),))
    monkeypatch.setitem(data_files.DATA_SETS, "cifar100", changed)
    assert main(command) == 0
    assert "checksum as published" in capsys.readouterr().out
    assert len(Catalog().problem("cifar100_allcnnc").data().train[0]) == 8
    (folder / "cifar-100-python.tar.gz").unlink()  # it is there, and is not asked for again
    assert main(command) == 0
    assert main(["data", "mnist", "--download", "--mirror", url]) == 2
    assert "HTTP Error 404" in capsys.readouterr().err


def test_names_and_folders_of_data(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv(data_files.VARIABLE, raising=False)
    assert main(["data", "minst"]) == 2 and "did you mean 'mnist'" in capsys.readouterr().err
    assert main(["data", "mnist", "--download"]) == 2 and "OPTBENCH_DATA" in capsys.readouterr().err
    assert main(["data"]) == 0 and capsys.readouterr().out.count("not here") == len(data_files.DATA_SETS)


def test_quadratic_deep_trains_as_a_bare_loop_to_the_bit() -> None:
    catalog = Catalog()
    problem = catalog.problem("quadratic_deep")
    (record,) = run_group([Trial("quadratic_deep", "sgd", (("batch", "full"), ("lr", 0.01)), 5, 24.0)], catalog)
    net, train = fresh(problem, 5)[0], problem.data().train
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for _ in range(13):
        with torch.no_grad():
            losses.append(problem.loss(net, train).item())
        optimizer.zero_grad()
        problem.loss(net, train).backward()
        optimizer.step()
    at = {round(point["backward"] / len(train[0])): point["loss"] for point in record.curve}
    assert len(at) >= 5 and max(at) <= 12
    assert [at[k] for k in sorted(at)] == [losses[k] for k in sorted(at)]


def test_other_files_are_another_problem_in_the_same_process(root: Path) -> None:
    """Trials run again, and on what the files hold now."""
    write_idx(root / "mnist")
    catalog = Catalog()
    first = catalog.fingerprint("mnist_2c2d", "sgd")
    before = splits(catalog.problem("mnist_2c2d"), "cpu").test
    assert first == Catalog().fingerprint("mnist_2c2d", "sgd")
    labels = root / "mnist" / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\0")  # as long as before
    os.utime(labels, ns=(0, 10**9))
    assert catalog.fingerprint("mnist_2c2d", "sgd") != first
    after = splits(catalog.problem("mnist_2c2d"), "cpu").test
    assert before is not None and after is not None and before[1][-1] == 9 and after[1][-1] == 0
    labels.unlink()
    assert catalog.fingerprint("mnist_2c2d", "sgd") != first  # what is missing is told where the data are read
    for name in ("resnet[data_set=mnist]", "mlp_mixer[data_set=mnist]", "mnist_vae"):
        assert catalog.problem(name).data_files == ()
    assert catalog.problem("resnet").data_files == ()
