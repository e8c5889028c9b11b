"""Files that travel: what plugins and problems read is found, sent, and laid out as it lay."""

from __future__ import annotations

from pathlib import Path

import pytest

from optbench.core.trial import RequestError
from optbench.execution.cluster import parcel
from optbench.execution.cluster.outbox import Outbox
from optbench.execution.cluster.parcel import Parcel, pack, places, unpack
from optbench.registry.catalog import Catalog

PROBLEM = """
from pathlib import Path
import torch
import helper
from optbench import Problem, Splits

class Mine(Problem):
    track, passes, batch = "supervised", 3.0, None
    def network(self): return torch.nn.Linear(1, 1)
    def data(self):
        x = torch.tensor([float(v) for v in (Path(__file__).parent / "data" / "x.txt").read_text().split()])[:, None]
        y = torch.tensor([float(v) for v in Path("y.txt").read_text().split()])[:, None]
        return Splits((x, y))
    def loss(self, net, batch): return helper.loss(net(batch[0]), batch[1])
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A plugin file with a module and data beside it, and data in the working directory; the way to it."""
    (tmp_path / "plugins" / "data").mkdir(parents=True)
    (tmp_path / "plugins" / "mine.py").write_text(PROBLEM)
    (tmp_path / "plugins" / "helper.py").write_text("def loss(a, b): return ((a - b) ** 2).mean()\n")
    (tmp_path / "plugins" / "data" / "x.txt").write_text("1 2 3")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "y.txt").write_text("2 4 6")
    (tmp_path / "here" / "unread.txt").write_text("not this one")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    return str(tmp_path / "plugins" / "mine.py")


def test_all_that_is_read_travels_and_nothing_else(plugin: str, tmp_path: Path, monkeypatch) -> None:
    packed = pack([plugin], ["mine"], ["sgd"])
    assert sorted(path for _, path, _ in packed.files) == ["data/x.txt", "helper.py", "mine.py", "y.txt"]
    assert not packed.in_place
    moved = unpack(packed, tmp_path)
    there = moved[plugin]
    assert Path(there).read_text() == PROBLEM and there != plugin
    monkeypatch.chdir(places(packed, tmp_path)[0])
    for place in places(packed, tmp_path):
        monkeypatch.syspath_prepend(place)
    for path in (tmp_path / "plugins", tmp_path / "here"):
        path.rename(path.with_name(f"gone-{path.name}"))
    catalog = Catalog([there], moved=moved)
    assert catalog.problem("mine").data().train[1].flatten().tolist() == [2.0, 4.0, 6.0]
    assert (
        type(catalog.problem(f"{plugin}:Mine")).__name__ == "Mine"
    )  # by the name that it has where the run was started


def test_two_workers_of_one_machine_lay_out_one_parcel(tmp_path: Path) -> None:
    packed = Parcel((str(tmp_path),), ((0, "a/b.py", b"x = 1"),))
    assert unpack(packed, tmp_path) == unpack(packed, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"files-{packed.digest}"]


def test_a_file_that_is_not_sent_must_be_there_and_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(parcel, "MAX_BYTES", 3)
    file = tmp_path / "large.bin"
    file.write_bytes(b"12345")
    packed = parcel._packed([tmp_path], [file])
    assert not packed.files and packed.in_place[0][0] == str(file)
    (tmp_path / "w").mkdir()
    unpack(packed, tmp_path / "w")
    file.write_bytes(b"12346")
    with pytest.raises(RequestError, match=r"large\.bin .*is another one"):
        unpack(packed, tmp_path / "w")
    file.unlink()
    with pytest.raises(RequestError, match=r"large\.bin .*is not there"):
        unpack(packed, tmp_path / "w")


def test_answers_wait_whole_until_they_are_forgotten(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    box = Outbox("run")
    box.put({"id": "a", "lines": ["x"]})
    box.put({"id": "b", "lines": []})
    (box._folder / "c.answer").write_bytes(b"half")
    assert [answer["id"] for answer in Outbox("run").all()] == ["a", "b"] and Outbox("other").all() == []
    box.forget(["a", "none"])
    assert box.get("a") is None and box.get("b") == {"id": "b", "lines": []} and box.get("c") is None
